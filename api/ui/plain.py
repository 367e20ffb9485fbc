"""Pages of one file, without NiceGUI: to sign in, and where there is nothing to see.

Takes sentences, gives HTML; never what a browser has sent.
"""

from collections.abc import Iterable
from html import escape

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
<title>graphsvc: {title}</title>
<style>
:root {{ --back: #f6f7f9; --card: #fff; --text: #1b2430; --line: #8a94a3; --act: #1d4ed8; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --back: #121417; --card: #1d2126; --text: #e6e9ee; --line: #6b7480; --act: #7aa2ff; }}
}}
body {{ font: 16px/1.5 system-ui, sans-serif; background: var(--back); color: var(--text);
  display: grid; place-items: center; min-height: 100vh; margin: 0; }}
main {{ box-sizing: border-box; background: var(--card); padding: 2rem; border-radius: .75rem;
  width: min(30rem, 92vw); }}
h1 {{ margin: 0 0 1rem; font-size: 1.3rem; }}
input {{ width: 100%; box-sizing: border-box; padding: .6rem; font: inherit; color: inherit;
  background: transparent; border: 1px solid var(--line); border-radius: .4rem; }}
button {{ margin-top: 1rem; padding: .6rem 1.2rem; font: inherit; border: 0; border-radius: .4rem;
  background: var(--act); color: var(--card); cursor: pointer; }}
a {{ color: var(--act); }} ul {{ padding-left: 1.2rem; }}
:focus-visible {{ outline: 3px solid var(--act); outline-offset: 2px; }}
p {{ margin: .75rem 0 0; }} .wrong {{ font-weight: 600; }} code {{ font-size: .9em; }}
</style></head>
<body><main><h1>{heading}</h1>
{body}</main></body></html>"""
_FORM = """<form method="post" action="/ui/login">
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button></form>
{wrong}<p><code>graphsvc key create</code> makes a key; with the scope <code>read</code> it shows
everything here but keys, settings and the audit log, which want <code>admin</code>.</p>"""
_NONE = """<p>The address leads to no view. There are:</p>
<ul>{links}</ul>"""
_ELSEWHERE = """<p>This server runs as several processes, and what a page shows somebody lives in
one. Set <code>GRAPHSVC_PAGE_PORT</code> to a free port, and start the server again: one more
process has the page there, and this address leads to it.</p>
<p>The API is here as ever: <a href="/docs">/docs</a>.</p>"""


def sign_in(wrong: str = "") -> str:
    """The form, with why nobody was let in."""
    said = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    return _PAGE.format(title="sign in", heading="graphsvc", body=_FORM.format(wrong=said))


def no_view(views: Iterable[tuple[str, str]]) -> str:
    """That an address leads to no view, and those that there are: addresses and titles."""
    links = "".join(
        f'<li><a href="{escape(address)}">{escape(title)}</a></li>' for address, title in views
    )
    heading = "There is no such view"
    return _PAGE.format(title=heading.lower(), heading=heading, body=_NONE.format(links=links))


def no_page() -> str:
    """That this server has no page, and how there is one."""
    heading = "The page is not here"
    return _PAGE.format(title=heading.lower(), heading=heading, body=_ELSEWHERE)
