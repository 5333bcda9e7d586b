"""Colours and type of all pages: one palette, told apart without colour vision, for figures, pictures and text."""

from __future__ import annotations

INK, MUTED, RULE, PALE = "#1c2530", "#5f6b7a", "#d5dbe2", "#f4f6f8"
SPECIAL, GENERAL_TASK, ACCENT = "#1f5f99", "#8b95a1", "#c2571a"

TRUTH_LINE, GENERAL_LINE, MIXTURE_LINE = "#3ddc84", "#ffb000", "#4db8ff"
"""Outlines on grey images."""

STYLE_SHEET = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #fff; color: {INK}; font: 15px/1.55 "Helvetica Neue", Helvetica, Arial, sans-serif; }}
main {{ max-width: 1080px; margin: 0 auto; padding: 40px 32px 56px; }}
h1 {{ font-size: 28px; line-height: 1.2; font-weight: 600; margin: 0 0 6px; letter-spacing: -0.01em; }}
h2 {{ font-size: 19px; font-weight: 600; margin: 52px 0 8px; padding-top: 14px; border-top: 1px solid {RULE}; }}
h3 {{ font-size: 15px; font-weight: 600; margin: 28px 0 4px; }}
p {{ margin: 0 0 12px; max-width: 84ch; }}
.subtitle, .note, figcaption, .notes {{ color: {MUTED}; }}
.note, figcaption, .notes {{ font-size: 13px; line-height: 1.45; max-width: 104ch; }}
.notes {{ margin: 10px 0 0; padding: 0; list-style: none; }}
.notes li {{ margin: 2px 0; overflow-wrap: anywhere; }}
.warning {{ border-left: 3px solid {ACCENT}; background: {PALE}; padding: 9px 14px; margin: 18px 0 22px;
  font-size: 14px; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(215px, 1fr)); gap: 14px; margin: 24px 0 8px; }}
.tile {{ border: 1px solid {RULE}; border-radius: 4px; padding: 14px 16px; }}
.tile .label {{ color: {MUTED}; font-size: 13px; line-height: 1.35; }}
.tile .value {{ font-size: 27px; font-weight: 600; letter-spacing: -0.01em; margin: 4px 0 2px;
  font-variant-numeric: tabular-nums; }}
.tile .detail {{ color: {MUTED}; font-size: 13px; line-height: 1.35; overflow-wrap: anywhere; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }}
th, td {{ padding: 6px 9px; text-align: left; vertical-align: baseline; }}
th {{ font-weight: 600; border-bottom: 1.5px solid {INK}; line-height: 1.3; vertical-align: bottom; }}
td {{ border-bottom: 1px solid {RULE}; overflow-wrap: break-word; }}
th.number, td.number {{ text-align: right; white-space: nowrap; }}
th.number {{ white-space: normal; max-width: 112px; overflow-wrap: break-word; }}
tr.section td {{ padding-top: 16px; color: {MUTED}; font-size: 13px; border-bottom: 1px solid {MUTED}; }}
tr.mean td {{ font-weight: 600; background: {PALE}; }}
h3 .detail {{ color: {MUTED}; font-size: 12px; font-weight: 400; }}
td .detail {{ display: block; color: {MUTED}; font-size: 12px; font-weight: 400; }}
td.mixture {{ font-weight: 600; }}
.gain {{ color: {SPECIAL}; }} .loss {{ color: {ACCENT}; }}
figure {{ margin: 14px 0 26px; }}
figure img {{ display: block; max-width: 100%; height: auto; margin: 0 0 8px; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; font-size: 13px; margin: 12px 0; }}
dt {{ color: {MUTED}; }} dd {{ margin: 0; overflow-wrap: anywhere; }}
footer {{ margin-top: 40px; padding-top: 12px; border-top: 1px solid {RULE}; color: {MUTED}; font-size: 13px; }}
@media (max-width: 760px) {{ main {{ padding: 24px 16px; }} }}
@page {{ size: A4; margin: 14mm; }}
@media print {{
  body {{ font-size: 10pt; -webkit-print-color-adjust: exact; print-color-adjust: exact; }}
  main {{ max-width: none; padding: 0; }}
  table {{ font-size: 8pt; }} th, td {{ padding: 3px 5px; }} td .detail {{ font-size: 7pt; }}
  th.number {{ max-width: 68px; }} figure img {{ max-height: 145mm; width: auto; }}
  .tiles {{ grid-template-columns: repeat(4, 1fr); gap: 8px; }} .tile {{ padding: 8px 10px; }}
  .tile .value {{ font-size: 18pt; }}
  h2, h3 {{ break-after: avoid; }} figure, .tile, tr, dl {{ break-inside: avoid; }}
  h2 {{ margin-top: 28px; }} .wide {{ overflow: visible; }}
}}
"""
"""Of every page."""
