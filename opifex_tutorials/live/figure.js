// What all live figures share: curves that move, sliders, a button that plays.
"use strict";

/** Map a value to its place along an axis of the drawing; off a logarithmic axis, to its end. */
function place({ at, ends, scale }, value) {
  const log = scale === "log";
  const [low, high, z] = [...ends, value].map((v) => (log ? Math.log10(Math.max(v, ends[0])) : v));
  return at[0] + ((z - low) / (high - low)) * (at[1] - at[0]);
}

/** Map a place along a linear axis to its value: the inverse of `place`. */
function valueAt({ at, ends }, pixel) {
  return ends[0] + ((pixel - at[0]) / (at[1] - at[0])) * (ends[1] - ends[0]);
}

/**
 * Draw a curve, its line and its markers, through other points.
 * @param {Element} box holds the figure.
 * @param {string} name of the curve.
 * @param {{x: object, y: object}} frame its axes.
 * @param {number[][]} points pairs [x, y].
 */
function move(box, name, frame, points) {
  const curve = box.querySelector(`[id$="live-${name}"]`);
  const places = points.map(([x, y]) => [place(frame.x, x).toFixed(2), place(frame.y, y).toFixed(2)]);
  const line = curve.querySelector(":scope > path");
  if (line) line.setAttribute("d", "M" + places.map((p) => p.join(" ")).join("L"));
  const markers = [...curve.querySelectorAll("use")];
  if (!markers.length) return;
  markers[0].parentNode.replaceChildren(
    ...places.map(([x, y]) => {
      const marker = markers[0].cloneNode();
      marker.setAttribute("x", x);
      marker.setAttribute("y", y);
      return marker;
    }),
  );
}

/**
 * Add the controls to a figure. Whatever the reader changes, everything is drawn anew.
 * @param {Element} box holds the figure.
 * @param {object} sliders by name: {label, min, max, step, value, text}; `text` says in words
 *   what a position means.
 * @param {(positions: object) => string} draw moves the curves, and says what is to be read.
 * @returns {{form: Element, inputs: object, redraw: () => void}} the sliders by name, and what
 *   draws everything anew after one of them was set.
 */
function controls(box, sliders, draw) {
  const form = document.createElement("form");
  const add = (parent, tag) => parent.appendChild(document.createElement(tag));
  const inputs = {};
  const says = [];
  for (const [name, { label, text, value, ...range }] of Object.entries(sliders)) {
    const row = add(form, "div"); // one below the other, also where there is no style sheet
    const named = add(row, "label");
    named.append(label + " ");
    const input = (inputs[name] = add(named, "input"));
    Object.assign(input, { type: "range", ...range });
    input.value = value; // once the range is known
    row.append(" ");
    const words = add(row, "span");
    words.ariaHidden = true; // the slider says it
    says.push(() => (input.ariaValueText = words.textContent = text(input.valueAsNumber)));
  }
  const result = add(add(form, "div"), "output");
  const redraw = () => {
    const positions = Object.entries(inputs).map(([name, input]) => [name, input.valueAsNumber]);
    says.forEach((say) => say());
    result.textContent = draw(Object.fromEntries(positions));
  };
  form.oninput = redraw;
  form.onsubmit = (event) => event.preventDefault();
  box.querySelector("svg").after(form);
  redraw();
  return { form, inputs, redraw };
}

/** Add a button that moves a slider by itself, from its start to its end and again. */
function player({ form, redraw }, slider) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Play";
  let timer = null; // nothing moves until the reader says so
  button.onclick = () => {
    timer = timer ? clearInterval(timer) : setInterval(step, 80);
    button.textContent = timer ? "Pause" : "Play";
    form.querySelector("output").ariaLive = timer ? "off" : "polite"; // not read aloud at each step
  };
  const step = () => {
    if (slider.value === slider.max) slider.value = slider.min;
    else slider.stepUp();
    redraw();
  };
  form.prepend(button);
}
