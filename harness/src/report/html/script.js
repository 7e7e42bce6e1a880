// A convenience only: every part of the page can be read without it.
"use strict";
for (const controls of document.querySelectorAll(".controls")) {
  controls.hidden = false;
  controls.addEventListener("click", (event) => {
    const open = event.target.dataset.open;
    if (open === undefined) return;
    for (const step of controls.parentElement.querySelectorAll("details.step")) step.open = open === "true";
  });
}
addEventListener("beforeprint", () => {
  for (const step of document.querySelectorAll("details.step")) step.open = true;
});
