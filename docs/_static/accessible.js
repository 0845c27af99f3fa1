// What the theme leaves out for those who use a keyboard or a screen reader.
addEventListener("load", async () => {
  for (const summary of document.querySelectorAll("summary:not([aria-label])")) {
    const link = summary.closest("li")?.querySelector("a");
    if (!summary.innerText.trim() && link) summary.ariaLabel = `Pages of ${link.innerText}`;
  }
  await window.MathJax?.startup?.promise;
  // what scrolls sideways can be reached: code, outputs, tables and formulas wider than the page
  const wide = ".bd-article pre, .bd-article .output, .bd-article table, .bd-article .pst-scrollable-table-container";
  for (const box of document.querySelectorAll(`${wide}, mjx-container`)) {
    if (box.scrollWidth > box.clientWidth && !box.hasAttribute("tabindex")) box.tabIndex = 0;
  }
});
