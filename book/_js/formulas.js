// Set the formulas of a page with KaTeX. Sphinx leaves each as TeX, between \( \) or \[ \], in an
// element of the class "math"; a number that it gave the formula stays.
function setFormula(element, katex) {
  const texts = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
  const tex = texts.map((node) => node.data).join("").trim();
  const box = document.createElement("span");
  const displayMode = tex.startsWith("\\[");
  texts.forEach((node) => node.remove());
  element.append(box);
  katex.render(tex.slice(2, -2), box, { displayMode, throwOnError: false });
  // What scrolls must be reachable by keyboard.
  if (displayMode && element.scrollWidth > element.clientWidth) element.tabIndex = 0;
}

document.addEventListener("DOMContentLoaded", () => {
  if (!window.katex) return; // a page without formulas does not load it
  document.querySelectorAll("span.math, div.math").forEach((e) => setFormula(e, window.katex));
});
