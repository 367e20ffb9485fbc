import io

from matplotlib import image

from kge.curves import Point, picture

POINTS = [Point(1, 5.0), Point(2, 3.0, 0.1), Point(3, 2.5, 0.2)]


def test_the_same_numbers_give_the_same_picture_and_others_another():
    assert picture(POINTS) == picture(list(POINTS))
    assert picture(POINTS) != picture(POINTS[:2])


def test_it_is_a_picture_with_a_line():
    pixels = image.imread(io.BytesIO(picture(POINTS)))
    assert pixels.shape[0] > 200
    blue = (pixels[..., 2] > 0.6) & (pixels[..., 0] < 0.3)
    assert blue.sum() > 100
