"""Plots as SVG, for light and dark pages: text and axes follow the reader's preference, nothing is fetched, no font of its own needed."""

import html
import math

WIDTH, HEIGHT = 760, 380
LEFT, RIGHT, TOP, BOTTOM = 70, 230, 46, 52
LABEL_GAP = 17
STYLE = """
  text { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 15px } .faint { fill: #59636e }
  .paper { fill: #ffffff } .axis { stroke: #8c959f } .grid { stroke: #d8dee4 }
  .s0 { stroke: #0550ae; fill: #0550ae } .s1 { stroke: #1a7f37; fill: #1a7f37 }
  .s2 { stroke: #9a6700; fill: #9a6700 } .s3 { stroke: #8250df; fill: #8250df }
  .line { fill: none; stroke-width: 2.2 } .dashed { stroke-dasharray: 6 4 } text.label { stroke: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .faint { fill: #9198a1 } .paper { fill: #0d1117 } .axis { stroke: #6e7681 } .grid { stroke: #262c36 }
    .s0 { stroke: #79c0ff; fill: #79c0ff } .s1 { stroke: #56d364; fill: #56d364 }
    .s2 { stroke: #e3b341; fill: #e3b341 } .s3 { stroke: #d2a8ff; fill: #d2a8ff }
    .line { fill: none }
  }
"""


def text(x, y, words, style='', anchor='start'):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(words)}</text>'


def document(title, height, parts):
    return '\n'.join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{html.escape(title)}">',
            f'<title>{html.escape(title)}</title>',
            f'<style>{STYLE}</style>',
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>',
            text(18, 28, title, 'title'),
            *parts,
            '</svg>',
            '',
        ]
    )


def nice_step(highest, steps=5):
    """A step of 1, 2 or 5 times a power of ten that divides the axis into about as many."""
    raw = highest / steps
    power = 10 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)


def spread_labels(wanted):
    """Heights for labels at (height, …) so that none covers another, in the order given."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    heights, last = [0.0] * len(wanted), -math.inf
    for i in order:
        last = heights[i] = max(wanted[i], last + LABEL_GAP)
    return heights


def growth(title, x_words, y_words, series):
    """Lines over a logarithmic x axis. series: (name, [(x, y)], number of its colour, dashed)."""
    xs = sorted({x for _, points, _, _ in series for x, _ in points})
    highest = max(y for _, points, _, _ in series for _, y in points) * 1.08
    low, high = math.log10(xs[0]), math.log10(xs[-1])

    def at_x(x):
        return LEFT + (math.log10(x) - low) / ((high - low) or 1) * (WIDTH - LEFT - RIGHT)

    def at_y(y):
        return HEIGHT - BOTTOM - y / highest * (HEIGHT - TOP - BOTTOM)

    parts, step, tick = [], nice_step(highest), 0.0
    while tick <= highest:
        parts += [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(tick):.1f}" y2="{at_y(tick):.1f}"/>',
            text(LEFT - 8, at_y(tick) + 4, f'{tick:g}', 'faint', 'end'),
        ]
        tick = round(tick + step, 9)
    parts += [text(at_x(x), HEIGHT - BOTTOM + 20, f'{x:,}', 'faint', 'middle') for x in xs]
    parts += [
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at_y(0):.1f}" y2="{at_y(0):.1f}"/>',
        text(LEFT, HEIGHT - 10, x_words, 'faint'),
        text(18, TOP + 2, y_words, 'faint'),
    ]
    heights = spread_labels([at_y(points[-1][1]) + 4 for _, points, _, _ in series])
    for (name, points, colour, dashed), height in zip(series, heights):
        path = ' '.join(f'{at_x(x):.1f},{at_y(y):.1f}' for x, y in points)
        parts += [
            f'<polyline class="s{colour} line{" dashed" if dashed else ""}" points="{path}"/>',
            *(f'<circle class="s{colour}" cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3"/>' for x, y in points),
            text(WIDTH - RIGHT + 10, height, name, f'label s{colour}'),
        ]
    return document(title, HEIGHT, parts)


def bars(title, unit, groups):
    """Horizontal bars. groups: (words, [(name, value, number of its colour)]); each group has a scale of its own."""
    parts, y = [], 52
    name_width, value_width, bar = 230, 90, 18
    for words, entries in groups:
        parts.append(text(18, y + 6, words, 'faint'))
        y += 18
        highest = max(value for _, value, _ in entries)
        for name, value, colour in entries:
            length = max(1.0, value / highest * (WIDTH - name_width - value_width - 18))
            parts += [
                text(name_width - 8, y + 14, name, '', 'end'),
                f'<rect class="s{colour}" x="{name_width}" y="{y}" width="{length:.1f}" height="{bar}" rx="2"/>',
                text(name_width + length + 8, y + 14, f'{value:,.0f} {unit}', 'faint'),
            ]
            y += bar + 7
        y += 14
    return document(title, y + 4, parts)
