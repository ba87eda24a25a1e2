"""Which words on a page stand out too little from what they are written on, by WCAG 2's AA: under 4.5:1, or 3:1 where they are large."""

from __future__ import annotations

_FAINT = r"""() => {
  const numbers = colour => { const [r, g, b, a = 1] = colour.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = (above, below) => [0, 1, 2].map(i => above[i] * above[3] + below[i] * (1 - above[3])).concat(1);
  const luminance = colour => {
    const [r, g, b] = colour.map(value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const upwards = place => place ? [place, ...upwards(place.parentElement)] : [];
  const ratio = (place, colour) => {
    const grounds = upwards(place).map(one => numbers(getComputedStyle(one).backgroundColor));
    const ground = grounds.reduceRight((below, above) => over(above, below), [255, 255, 255, 1]);
    const ink = numbers(colour);
    ink[3] *= upwards(place).reduce((product, one) => product * getComputedStyle(one).opacity, 1);
    const [darker, lighter] = [luminance(over(ink, ground)), luminance(ground)].sort((a, b) => a - b);
    return (lighter + 0.05) / (darker + 0.05);
  };
  const faint = [];
  for (const place of document.querySelectorAll('body *:not(svg *)')) {
    if (!place.checkVisibility({checkOpacity: true, checkVisibilityCSS: true})) continue;
    const style = getComputedStyle(place), size = parseFloat(style.fontSize);
    const enough = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const words = [...place.childNodes].filter(node => node.nodeType === Node.TEXT_NODE).map(node => node.data).join('').trim();
    for (const [said, colour] of [[words, style.color], [place.placeholder, getComputedStyle(place, '::placeholder').color]])
      if (said && ratio(place, colour) < enough) faint.push(`${said}: ${ratio(place, colour).toFixed(2)}`);
  }
  return faint;
}"""

_AT_REST = """() => document.getAnimations().every(one => one.playState !== 'running')
  && !document.querySelector('[data-testid=status-tracker]:not(.hide)')"""


def faint(page) -> list[str]:
    """The words of what a playwright page shows once it is at rest, each with its contrast."""
    page.wait_for_function(_AT_REST)
    return page.evaluate(_FAINT)
