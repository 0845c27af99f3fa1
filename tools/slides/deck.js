/* Divides what is taller than a slide over more slides, then hands them to reveal.js. */
const HEIGHT = 720, FOOT = 40; // of a slide, and of its last part, which stays free
const SMALLEST = 0.5; // of its letters, for a table or a formula that is too wide
const READABLE = 0.8; // of those that were printed; what is wider still is wrapped
const LETTERS = [25, 24, 23]; // instead of 26
const SPARE = 0.25; // of a picture's height, for the text beside it
const SIDE = 56; // its margins, as in deck.css
const THIN = 220; // a page below this is nearly empty

/* The blocks of a page between its heading and its notes; folded code takes no room. */
const movable = (page, code = false) =>
  [...page.children].filter((block) => !block.matches(code ? "h1, h2, .running, .notes" : "h1, h2, .running, .notes, .code"));
const bottom = (page) => {
  const blocks = movable(page);
  return blocks.length ? Math.max(...blocks.map((b) => b.getBoundingClientRect().bottom)) - page.getBoundingClientRect().top : 0;
};
const fits = (page) => bottom(page) <= HEIGHT - FOOT;

/* A page after this one, with the same notes and a small line that says where we are. */
function pageAfter(page) {
  const next = document.createElement("section");
  const heading = page.querySelector(":scope > h1, :scope > h2, :scope > .running, :scope > h3");
  if (heading) {
    const running = document.createElement("p");
    running.className = "running";
    running.innerHTML = heading.innerHTML;
    next.append(running);
  }
  for (const note of page.querySelectorAll(":scope > .notes")) next.append(note.cloneNode(true));
  page.after(next);
  return next;
}

function move(blocks, page) {
  const first = movable(page, true)[0] ?? null;
  for (const block of blocks) page.insertBefore(block, first);
}

/* What belongs to the block below it: a heading, code, a paragraph that announces something. */
const leads = (block) => block.matches("h3, h4, .code") || /:$/.test(block.textContent.trim());

/* Divide one tall list, table or text; what was cut off, or null where nothing can be. */
function cut(block, page) {
  const inside = block.matches("table") ? block.tBodies[0] : block;
  if (block.matches("pre")) {
    const lines = block.textContent.split("\n"), kept = [];
    block.textContent = "";
    while (lines.length && (kept.length < 2 || fits(page))) {
      kept.push(lines.shift());
      block.textContent = kept.join("\n");
    }
    if (!fits(page)) lines.unshift(kept.pop());
    block.textContent = kept.join("\n");
    if (!lines.length) return null;
    const rest = block.cloneNode(false);
    rest.textContent = lines.join("\n");
    return rest;
  }
  if (!block.matches("ul, ol, table") || inside.children.length < 2) return null;
  const rest = block.cloneNode(block.matches("table"));
  const target = block.matches("table") ? rest.tBodies[0] : rest;
  if (block.matches("table")) target.replaceChildren();
  while (!fits(page) && inside.children.length > 1) target.prepend(inside.lastElementChild);
  if (block.matches("ol")) rest.start = (block.start || 1) + inside.children.length;
  return target.children.length ? rest : null;
}

/* Make a block smaller until the condition holds. */
function shrink(block, enough, least = SMALLEST) {
  const size = parseFloat(getComputedStyle(block).fontSize);
  for (let part = 0.95; !enough() && part >= least; part -= 0.05) block.style.fontSize = `${size * part}px`;
}

/* Whether the page fits, if need be with a smaller picture or slightly smaller letters. */
function squeezed(page) {
  const over = bottom(page) - (HEIGHT - FOOT), picture = page.querySelector(":scope > img");
  if (over <= 0) return true;
  if (picture && over < SPARE * picture.height) {
    const part = 1 - (over + 1) / picture.height;
    [picture.width, picture.height] = [part * picture.width, part * picture.height];
    return true;
  }
  for (const size of LETTERS) {
    page.style.fontSize = `${size}px`;
    if (fits(page)) return true;
  }
  page.style.fontSize = "";
  return false;
}

/* Begin a page after the questions of a page, so that no answer stands below them. */
function pauseAfterQuestions(page) {
  const blocks = movable(page, true);
  const first = blocks.findIndex((block) => block.matches(".ask") || /^Predict first/.test(block.textContent.trim()));
  if (first < 0) return;
  let last = first;
  while (blocks[last + 1]?.matches(".ask, .code")) last += 1;
  while (blocks[last].matches(".code")) last -= 1;
  if (blocks.slice(last + 1).some((block) => !block.matches(".code"))) move(blocks.slice(last + 1), pageAfter(page));
}

function divide(page) {
  pauseAfterQuestions(page);
  const rest = [], last = () => movable(page, true).at(-1);
  const drop = () => (rest.unshift(last()), rest[0].remove());
  while (movable(page).length > 1 && !squeezed(page)) drop();
  if (!rest.length && squeezed(page)) return;
  while (rest.length && movable(page).length > 1 && leads(last())) drop();
  /* a long list begins on this page, where there is room for its beginning */
  const next = rest.findIndex((block) => !block.matches(".code"));
  if (next >= 0 && rest[next].matches("ul, ol, .printed")) {
    page.append(rest[next]);
    const tail = cut(rest[next], page);
    if (fits(page)) tail ? (rest[next] = tail) : rest.splice(next, 1);
    else {
      rest[next].remove();
      if (tail) rest[next].append(...tail.childNodes);
    }
  }
  if (!fits(page)) {
    const [block] = movable(page), tail = cut(block, page);
    if (tail) rest.unshift(tail);
    if (!fits(page)) shrink(block, () => fits(page));
  }
  if (rest.length) move(rest, pageAfter(page));
}

/* A page that is nearly empty leads to what comes next, where there is room. */
function joinNext(page) {
  const next = page.nextElementSibling, own = movable(page, true);
  if (!next || page.querySelector("h1, h2, .ask") || bottom(page) > THIN) return false;
  const blocks = movable(next), picture = blocks.findIndex((block) => block.matches("img"));
  const wanted = blocks.slice(0, picture < 0 ? 1 : picture + 1);
  const shrinks = picture < 0 ? 0 : SPARE * blocks[picture].height;
  const height = wanted.length && wanted.at(-1).getBoundingClientRect().bottom - wanted[0].getBoundingClientRect().top;
  if (!wanted.length || bottom(page) + height - shrinks > HEIGHT - FOOT) return false;
  move(own, next);
  next.append(...page.querySelectorAll(":scope > .notes"));
  page.remove();
  return true;
}

/* All code of a page behind one word at its foot. */
function foldCode(page) {
  const [first, ...others] = page.querySelectorAll(":scope > .code");
  for (const other of others) {
    first.querySelector("pre").append("\n\n", ...other.querySelector("pre").childNodes);
    other.remove();
  }
  if (first) page.append(first);
}

/* Make smaller what is wider than the page. */
function narrow(page) {
  const room = page.clientWidth - 2 * SIDE;
  for (const block of movable(page).flatMap((block) => (block.matches(".html, .ask") ? [...block.children] : block))) {
    const formulas = [...block.querySelectorAll("mjx-math")];
    const enough = () => Math.max(block.scrollWidth, ...formulas.map((formula) => formula.offsetWidth)) <= room;
    shrink(block, enough, block.matches("pre") ? READABLE : SMALLEST);
    if (!enough()) block.style.whiteSpace = "pre-wrap";
  }
}

async function start() {
  await MathJax.startup.promise;
  await document.fonts.ready;
  for (const column of document.querySelectorAll(".slides > section")) {
    for (const page of column.children) narrow(page);
    for (let page = column.firstElementChild; page; page = page.nextElementSibling) {
      divide(page);
      const next = page.nextElementSibling;
      if (joinNext(page)) {
        page = next;
        divide(page);
      }
      foldCode(page);
    }
  }
  document.querySelector(".deck").classList.add("reveal");
  await Reveal.initialize({
    width: 1280, height: HEIGHT, margin: 0, center: false, hash: true, transition: "none", slideNumber: "c/t",
    plugins: [RevealNotes],
  });
  Reveal.addKeyBinding({ keyCode: 67, key: "C", description: "Show the code" }, () => {
    const code = Reveal.getCurrentSlide().querySelector(".code");
    if (code) code.open = !code.open;
  });
}

start();
