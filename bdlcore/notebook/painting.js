// The browser's part of bdlcore.painting.Canvas. A pixel of the picture is a pixel of the canvas, which CSS enlarges.
// A stroke is drawn here at once, without waiting for the kernel, which gets the whole hole when the stroke ends: as
// a message, because messages arrive in order, so that a click on a button comes after what was painted before it.
const SHOWN = 320; // CSS pixels a side
const PAINT = [225, 0, 190];
const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function render({ model, el }) {
  const side = model.get("side");
  const frame = document.createElement("div");
  const canvas = document.createElement("canvas");
  const ring = document.createElement("div"); // the brush's outline
  const context = canvas.getContext("2d");
  canvas.width = canvas.height = side;
  const square = { width: `${SHOWN}px`, height: `${SHOWN}px` };
  Object.assign(frame.style, square, { position: "relative", overflow: "hidden" });
  Object.assign(canvas.style, square, { display: "block", imageRendering: "pixelated", touchAction: "none" });
  Object.assign(ring.style, {
    position: "absolute",
    boxSizing: "border-box",
    border: "1px solid white",
    outline: "1px solid black",
    borderRadius: "50%",
    transform: "translate(-50%, -50%)",
    pointerEvents: "none",
    display: "none",
  });
  frame.append(canvas, ring);
  el.append(frame);

  let last = null; // where the stroke has come to, while one is drawn
  let brush = [(side - 1) / 2, (side - 1) / 2]; // where the keyboard or the mouse has left it
  let hole;

  const bytes = (name) => {
    const view = model.get(name);
    return new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
  };

  function draw() {
    const image = context.createImageData(side, side);
    const picture = bytes("picture");
    for (let i = 0; i < side * side; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = hole[i] ? PAINT[c] : picture[3 * i + c];
      image.data[4 * i + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  }

  function takeHole() {
    if (last) return; // the stroke's end will tell the kernel what holds
    hole = bytes("hole");
    draw();
  }

  // in pixels of the picture, whose centres lie at whole numbers; as Canvas.paint
  function place(event) {
    const box = canvas.getBoundingClientRect();
    const along = (client, start, length) => ((client - start) / length) * side - 0.5;
    return [along(event.clientX, box.left, box.width), along(event.clientY, box.top, box.height)];
  }

  function dot(x, y) {
    const reach = Math.max(model.get("brush") / 2, Math.SQRT1_2);
    for (let i = Math.max(0, Math.ceil(y - reach)); i <= Math.min(side - 1, y + reach); i++) {
      for (let j = Math.max(0, Math.ceil(x - reach)); j <= Math.min(side - 1, x + reach); j++) {
        if ((j - x) ** 2 + (i - y) ** 2 <= reach ** 2) hole[i * side + j] = 1;
      }
    }
  }

  function stroke([x, y]) {
    const [x0, y0] = last;
    const dots = Math.ceil(Math.max(1, Math.abs(x - x0), Math.abs(y - y0)));
    for (let k = 1; k <= dots; k++) dot(x0 + ((x - x0) * k) / dots, y0 + ((y - y0) * k) / dots);
    last = [x, y];
    draw();
  }

  function showBrush() {
    const [x, y] = brush;
    const pixel = SHOWN / side;
    ring.style.width = ring.style.height = `${pixel * model.get("brush")}px`;
    ring.style.left = `${pixel * (x + 0.5)}px`;
    ring.style.top = `${pixel * (y + 0.5)}px`;
    ring.style.display = "block";
  }

  function endStroke() {
    if (!last) return;
    last = null;
    model.set("hole", new DataView(hole.slice().buffer)); // for other views of the same canvas
    model.send({ event: "painted" }, undefined, [hole.slice().buffer]);
  }

  function press(event) {
    const move = MOVES[event.key];
    if (last || (!move && event.key !== " ")) return;
    event.preventDefault();
    const step = event.shiftKey ? 1 : Math.max(1, model.get("brush") / 2);
    const by = move ?? [0, 0]; // a mouse may have left the brush outside
    brush = brush.map((v, i) => Math.min(side - 1, Math.max(0, v + step * by[i])));
    if (!move) {
      last = brush;
      stroke(brush);
      endStroke();
    }
    showBrush();
  }

  if (model.get("brush")) {
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.ariaLabel = "The picture to paint on. Arrow keys move the brush, with Shift by one pixel; Space paints.";
    frame.dataset.lmSuppressShortcuts = "true"; // JupyterLab's, which would take the keys
    canvas.addEventListener("keydown", press);
    canvas.addEventListener("focus", showBrush);
    canvas.addEventListener("blur", () => (ring.style.display = "none"));
    canvas.style.cursor = "crosshair";
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId); // so that a stroke may leave the canvas
      last = place(event);
      stroke(last);
    });
    canvas.addEventListener("pointermove", (event) => {
      brush = place(event);
      showBrush();
      if (last) stroke(brush);
    });
    canvas.addEventListener("pointerleave", () => (ring.style.display = "none"));
    canvas.addEventListener("lostpointercapture", endStroke);
  } else {
    canvas.setAttribute("role", "img");
    canvas.ariaLabel = "The picture with what was painted out filled in.";
  }
  model.on("change:hole", takeHole);
  model.on("change:picture", draw);
  takeHole();
  return () => {
    model.off("change:hole", takeHole);
    model.off("change:picture", draw);
  };
}

export default { render };
