// Applied before the first paint: the reader's choice of theme, if one is stored.
(() => {
  let choice = null;
  try { choice = localStorage.getItem("protomodels-theme"); } catch { /* storage may be closed to us */ }
  if (choice === "light" || choice === "dark") document.documentElement.dataset.theme = choice;
})();
