// Levenberg-Marquardt on a network of two weights: where a step leads, and where many lead.
//
// Curves: start, damped (where one step leads, for every damping), step, plain, accelerated. Data:
//   times        where the residual of u' + u = 0 is asked for;
//   begin        the two weights;
//   power        the decimal logarithm of the first damping;
//   steps        how many trials the paths have.

/**
 * Residuals of û = 1 - a tanh(bt) in u' + u = 0, with their derivatives by the weights (a, b).
 * @returns {{r: number[], jacobian: number[][], hessian: number[][]}} for each time; the second
 *   derivatives are those by ab and by bb, the one by aa is zero.
 */
function toy(times, [a, b]) {
  const [r, jacobian, hessian] = [[], [], []];
  for (const t of times) {
    const T = Math.tanh(b * t);
    const s = 1 - T * T; // the derivative of tanh
    r.push(1 - a * T - a * b * s);
    jacobian.push([-T - b * s, -a * s * (1 + t - 2 * b * t * T)]);
    const bent = 2 * t * T * (1 + t - 2 * b * t * T) + 2 * t * (T + b * t * s);
    hessian.push([-s * (1 + t - 2 * b * t * T), a * s * bent]);
  }
  return { r, jacobian, hessian };
}

const lossOf = (r) => r.reduce((sum, value) => sum + value * value, 0) / r.length;

/** Solve (J'J + damping) d = -J'r for two weights, by Cramer's rule. */
function damped(jacobian, r, damping) {
  let [p, q, s, f, g] = [damping, 0, damping, 0, 0];
  jacobian.forEach(([one, two], i) => {
    [p, q, s] = [p + one * one, q + one * two, s + two * two];
    [f, g] = [f + one * r[i], g + two * r[i]];
  });
  const determinant = p * s - q * q;
  return [(q * g - s * f) / determinant, (q * f - p * g) / determinant];
}

/** Propose the weights to which one step leads, with geodesic acceleration or without. */
function propose(times, weights, damping, accelerate) {
  const { r, jacobian, hessian } = toy(times, weights);
  const d = damped(jacobian, r, damping);
  const curvature = hessian.map(([ab, bb]) => 2 * ab * d[0] * d[1] + bb * d[1] * d[1]);
  const a = accelerate ? damped(jacobian, curvature, damping) : [0, 0];
  return weights.map((weight, i) => weight + d[i] + a[i] / 2);
}

/** The weights after each trial; the damping is halved after a success, else four times as large. */
function path(times, weights, damping, steps, accelerate) {
  const visited = [weights];
  for (let trial = 0; trial < steps; trial++) {
    const proposed = propose(times, weights, damping, accelerate);
    const better = lossOf(toy(times, proposed).r) < lossOf(toy(times, weights).r);
    damping *= better ? 0.5 : 4;
    if (better) visited.push((weights = proposed));
  }
  return visited;
}

function start(box, data) {
  const { times, steps, frames } = data;
  const [horizontal, vertical] = [frames.start.x, frames.start.y];
  const draw = ({ a, b, power }) => {
    const damping = 10 ** power;
    const paths = [false, true].map((faster) => path(times, [a, b], damping, steps, faster));
    const powers = Array.from({ length: 91 }, (_, i) => 3 - i / 10);
    const curves = {
      damped: powers.map((p) => propose(times, [a, b], 10 ** p, false)),
      plain: paths[0],
      accelerated: paths[1],
      step: [propose(times, [a, b], damping, false)],
      start: [[a, b]],
    };
    for (const [name, points] of Object.entries(curves)) move(box, name, frames[name], points);
    const losses = paths.map((p) => lossOf(toy(times, p.at(-1)).r).toExponential(2));
    return `loss after ${steps} trials: ${losses[0]}, accelerated ${losses[1]}`;
  };
  const weight = (label, { ends }, value) =>
    ({ label, min: ends[0], max: ends[1], step: 0.02, value, text: (z) => z.toFixed(2) });
  const panel = controls(box, {
    a: weight("start, weight a", horizontal, data.begin[0]),
    b: weight("start, weight b", vertical, data.begin[1]),
    power: { label: "first damping", min: -6, max: 2, step: 0.1, value: data.power,
             text: (power) => `λ = ${(10 ** power).toPrecision(2)}` },
  }, draw);
  drag(box.querySelector("svg"), (x, y) => {
    panel.inputs.a.value = valueAt(horizontal, x);
    panel.inputs.b.value = valueAt(vertical, y);
    panel.redraw();
  });
}

/** Call `moved(x, y)`, in units of the drawing, while a pointer is down on it. */
function drag(svg, moved) {
  const follow = (event) => {
    const { left, top, width } = svg.getBoundingClientRect();
    const unit = svg.viewBox.baseVal.width / width;
    moved((event.clientX - left) * unit, (event.clientY - top) * unit);
  };
  svg.style.touchAction = "pan-y"; // a finger that goes up or down scrolls the page
  svg.onpointerdown = (event) => {
    svg.setPointerCapture(event.pointerId);
    follow(event);
  };
  svg.onpointermove = (event) => svg.hasPointerCapture(event.pointerId) && follow(event);
}
