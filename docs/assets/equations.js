// Typesets what pymdownx.arithmatex marks: \(...\) in a line, \[...\] apart from it.
for (const element of document.querySelectorAll(".arithmatex")) {
  const text = element.textContent.trim();
  try {
    katex.render(text.slice(2, -2), element, { displayMode: text.startsWith("\\[") });
  } catch (error) {
    // The equation stays as it was written, and a test looks for what is wrong.
    element.classList.add("katex-error");
    console.error(error.message);
  }
}
