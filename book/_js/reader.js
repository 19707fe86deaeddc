/* What the theme leaves out for those who read by keyboard, by ear or on paper. */
(() => {
  "use strict";

  // What is wider than its box scrolls. The keyboard reaches it then, also if it has just been unfolded
  // (the theme looks only when a page opens or the window changes), and a screen reader says what it is.
  const SCROLLING = [
    "article pre",
    "article div.math",
    "article .cell_output > .output",
    "article .pst-scrollable-table-container",
  ].join(", ");

  const describe = (box) => {
    const caption = box.querySelector("caption");
    if (caption) return caption.textContent.trim();
    const kind = box.querySelector("table") ? "Table"
      : box.matches(".math") ? "Formula"
      : box.closest(".cell_output") ? "Output" : "Code";
    return `${kind} ${box.dataset.place}`;
  };

  const update = (box) => {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (!scrolls) {
      if (box.role === "region") ["role", "aria-label"].forEach((name) => box.removeAttribute(name));
      box.tabIndex = -1;
      return;
    }
    box.tabIndex = 0;
    box.role = "region";
    box.ariaLabel = describe(box);
  };

  const watch = () => {
    const observer = new ResizeObserver((entries) => entries.forEach(({ target }) => update(target)));
    document.querySelectorAll(SCROLLING).forEach((box, index) => {
      box.dataset.place = index + 1;
      observer.observe(box);
    });
  };

  // A button has one name: the words that it shows, or a label if it shows none.
  const name = () => {
    document.querySelectorAll("summary, .search-button-field").forEach((button) => {
      const above = button.closest("li")?.querySelector("a");
      if (button.textContent.trim()) button.removeAttribute("aria-label");
      else if (above) button.ariaLabel = `Below ${above.textContent.trim()}`;
    });
    document.querySelectorAll(".theme-switch-button > *").forEach((icon) => {
      icon.ariaHidden = "true";
      icon.removeAttribute("title");
      icon.querySelectorAll("title").forEach((title) => title.remove());
    });
    // A list has items; that these are sources is said by the list's place.
    document.querySelectorAll(".citation-list > .citation").forEach((source) => {
      source.role = "listitem";
    });
  };

  // Nothing can be unfolded on paper, and paper is light.
  let folded = [];
  let theme = "light";
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => { details.open = true; });
    theme = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    folded.forEach((details) => { details.open = false; });
    document.documentElement.dataset.theme = theme;
  });

  // At the end, when scripts have drawn their icons and fonts have given formulas their width.
  window.addEventListener("load", () => {
    name();
    document.fonts.ready.then(watch);
  });
})();
