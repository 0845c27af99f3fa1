// The browser's part of bdlcore.demo.Room: tells the kernel how many pixels of the screen its box covers.
function render({ model, el }) {
  const box = document.createElement("div");
  Object.assign(box.style, { position: "absolute", inset: "0", pointerEvents: "none" });
  el.style.position = "static"; // so that the box covers the parent
  el.append(box);
  let waiting;

  function tell() {
    const pixels = [box.clientWidth, box.clientHeight].map((side) => Math.round(side * devicePixelRatio));
    if (Math.min(...pixels) < 100) return; // hidden, as in a tab that is not open
    model.set("pixels", pixels);
    model.save_changes();
  }

  const observer = new ResizeObserver(() => {
    clearTimeout(waiting); // a window that is dragged larger is drawn once, at the end
    waiting = setTimeout(tell, 100);
  });
  observer.observe(box);
  return () => observer.disconnect();
}

export default { render };
