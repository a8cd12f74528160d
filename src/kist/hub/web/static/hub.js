// Copy buttons are the only thing here: every page works without scripts.
for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  const label = button.ariaLabel;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.ariaLabel = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousElementSibling);  // for the reader's own Ctrl-C
      return;
    }
    setTimeout(() => { button.textContent = "Copy"; button.ariaLabel = label; }, 1500);
  });
}
