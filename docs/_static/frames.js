// A slider that shows stored pictures, where a demo would draw them.
addEventListener("DOMContentLoaded", () => {
  for (const figure of document.querySelectorAll("figure.frames")) {
    const frames = JSON.parse(figure.dataset.frames);
    const [slider, shown, picture] = ["input", "output", "img"].map((part) => figure.querySelector(part));
    const place = (k) => `${figure.dataset.at}/${k}.webp`;
    slider.addEventListener("input", () => {
      const frame = frames[slider.value];
      slider.ariaValueText = shown.value = frame.value;
      picture.alt = frame.words;
      picture.src = place(slider.value);
    });
    const fetchAll = () => frames.forEach((_, k) => (new Image().src = place(k)));
    for (const kind of ["focus", "pointerenter"]) slider.addEventListener(kind, fetchAll, { once: true });
  }
});
