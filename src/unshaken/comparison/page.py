"""The frame of a report: one HTML file that needs nothing else and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping, Sequence

from unshaken.pictures.inline import FONTS
from unshaken.pictures.palette import css_variables
from unshaken.pictures.style import printable

_CSS = """
:root{color-scheme:light dark;LIGHT}
@media (prefers-color-scheme:dark){:root{DARK}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--u-paper);color:var(--u-ink);font:16px/1.55 FONTS}
main{max-width:1096px;margin:0 auto;padding:48px 24px 72px}
.over{margin:0 0 10px;color:var(--u-muted);font-size:.9rem}
h1{margin:0;max-width:26em;font-size:clamp(1.55rem,4.2vw,2.35rem);line-height:1.2;
 font-weight:680;letter-spacing:-.018em;text-wrap:balance}
.lead{margin:16px 0 0;max-width:46em;font-size:1.06rem;text-wrap:pretty}
h2{margin:60px 0 6px;font-size:1.3rem;line-height:1.3;letter-spacing:-.01em}
h3{margin:28px 0 6px;font-size:1rem}
p{max-width:46em}
h2+p{margin:0 0 18px;color:var(--u-muted)}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch;margin:30px 0 10px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.93rem;
 font-variant-numeric:tabular-nums}
th,td{padding:8px 12px;line-height:22px;text-align:right;white-space:nowrap;
 border-bottom:1px solid var(--u-rule)}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--u-paper);
 background-clip:padding-box;padding-left:0;z-index:1}
th{vertical-align:bottom;font-weight:600;color:var(--u-muted);line-height:17px;font-size:.84rem;
 border-bottom:2px solid var(--u-muted)}
th small{display:block;font-weight:400;font-size:inherit}
th button{all:unset;cursor:pointer;display:block;width:100%}
th button:focus-visible{outline:2px solid var(--u-vat);outline-offset:3px;border-radius:2px}
th[aria-sort=ascending] button:after{content:" \\2191"}
th[aria-sort=descending] button:after{content:" \\2193"}
tbody tr.base td{border-bottom:1px solid var(--u-muted);border-top:1px solid var(--u-muted)}
.keep{white-space:nowrap}
td .pm{color:var(--u-muted)}
.key{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:9px;
 vertical-align:-.02em}
.base .name{font-weight:680}
.fewer,.more{font-weight:600}
.none{color:var(--u-muted)}
.under{color:var(--u-muted);font-size:.88rem;margin:0;max-width:60em}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));
 gap:40px 44px;align-items:start;margin-top:24px}
figure{margin:0;min-width:0;max-width:560px}
figure svg{display:block;width:100%;height:auto;overflow:visible}
figcaption{margin-top:10px;font-size:.9rem;line-height:1.5;color:var(--u-muted);text-wrap:pretty}
.made{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));
 gap:0 44px;align-items:start}
.made>.wide{grid-column:1/-1}
dl{display:grid;grid-template-columns:fit-content(11em) minmax(0,1fr);gap:5px 20px;
 margin:0;font-size:.92rem}
dt{color:var(--u-muted)}
dd{margin:0;overflow-wrap:anywhere}
dd code,dt code{font:.92em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
ul{margin:0;padding-left:1.2em;max-width:54em}
li{overflow-wrap:anywhere;margin:3px 0}
@media (max-width:600px){main{padding:28px 16px 48px}h2{margin-top:44px}
 th,td{padding:8px 9px}dl{grid-template-columns:fit-content(40%) minmax(0,1fr);gap:5px 14px}}
@media print{main{padding:0}figure,tr{break-inside:avoid}}
"""

# Without scripts the table keeps its order, best method first.
_SCRIPT = """
for(const table of document.querySelectorAll("table.sortable")){
 const heads=[...table.tHead.rows[0].cells],body=table.tBodies[0];
 heads.forEach((head,column)=>{
  const button=document.createElement("button");
  button.type="button";button.append(...head.childNodes);head.append(button);
  button.addEventListener("click",()=>{
   const up=head.getAttribute("aria-sort")!=="ascending";
   heads.forEach(other=>other.removeAttribute("aria-sort"));
   head.setAttribute("aria-sort",up?"ascending":"descending");
   const value=row=>row.cells[column].dataset.value??"";
   const number=text=>text===""?NaN:Number(text);
   body.append(...[...body.rows].sort((a,b)=>{
    const x=number(value(a)),y=number(value(b));
    if(isNaN(x)&&isNaN(y))return (up?1:-1)*value(a).localeCompare(value(b));
    if(isNaN(x)||isNaN(y))return isNaN(x)?1:-1;
    return up?x-y:y-x;}));});});}
"""


_TOGETHER = re.compile(r"[\d.]+ ± [\d.]+ %|[\d.]+ %|p &lt; [\d.]+")


def text(value: object) -> str:
    """Any value as HTML text, safe also within attributes."""
    return html.escape(printable(value), quote=True)


def sentence(value: object) -> str:
    """Text in which no number is torn from its error or its unit at the end of a line."""
    return _TOGETHER.sub(r'<span class="keep">\g<0></span>', text(value))


def page(title: str, body: Sequence[str]) -> str:
    """The whole file. Its content security policy forbids every request and every script but its
    own, whatever the strings in it may hold.
    """
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        f"default-src 'none';style-src 'unsafe-inline';img-src data:;script-src 'sha256-{digest}'"
    )
    css = _CSS.replace("LIGHT", css_variables("light")).replace("DARK", css_variables("dark"))
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width,initial-scale=1">',
            f"<title>{text(title)}</title>",
            f"<style>{css.replace('FONTS', FONTS)}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            f"<script>{_SCRIPT}</script>",
            "</body>",
            "</html>",
            "",
        )
    )


def figure(drawing: str, caption: str) -> str:
    """A picture with its caption (plain text)."""
    return f"<figure>{drawing}<figcaption>{text(caption)}</figcaption></figure>"


def facts(values: Mapping[str, object]) -> str:
    """A list of names and values; what is nested is named by its path. Empty if there is none."""
    pairs = [(name, shown) for name, shown in _flat(values, "") if shown]
    if not pairs:
        return ""
    lines = (f"<dt>{text(name)}</dt><dd>{text(shown)}</dd>" for name, shown in pairs)
    return f"<dl>{''.join(lines)}</dl>"


def words(value: object) -> str:
    """A value of a JSON document as a short text; "" for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {words(inner)}" for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(words(inner) for inner in value)
    return str(value)


def _flat(values: Mapping[str, object], path: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        label = f"{path}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            found += _flat(value, path if name == "info" else f"{label}: ")
        else:
            found.append((label, words(value)))
    return found
