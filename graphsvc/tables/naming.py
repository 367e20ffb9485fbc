"""What all tables have in common: names of constraints, and kinds of columns."""

from sqlalchemy import BigInteger, Integer, MetaData, String

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes only INTEGER columns its row number; there it is 64 bits wide anyway.
Key = BigInteger().with_variant(Integer, "sqlite")
Name = String(64)
ApplicationId = String(256)
Digest = String(64)
