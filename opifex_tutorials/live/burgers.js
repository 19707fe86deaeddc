// The trained network of Burgers' equation beside the exact solution, and the error below.
//
// Curves: network, exact, error. Data:
//   viscosities  of the donors, increasing;
//   donors       the parameters of each;
//   widths       of the layers of the network;
//   finalTime;
//   layerWidth   of the stretched coordinate, divided by the viscosity;
//   nodes, weights of the Gauss-Hermite rule;
//   x            where the curves are drawn;
//   viscosity, time  to begin with.

/** Parameters for a viscosity: linear in its logarithm between the two neighbors among the donors. */
function interpolate({ viscosities, donors }, viscosity) {
  let right = viscosities.findIndex((nu) => nu >= viscosity);
  if (right < 0) right = viscosities.length - 1;
  right = Math.max(right, 1);
  const [low, high] = [viscosities[right - 1], viscosities[right]];
  const share = Math.log(viscosity / low) / Math.log(high / low);
  return donors[right - 1].map((theta, i) => (1 - share) * theta + share * donors[right][i]);
}

/** Evaluate a tanh network; of each layer the biases come first, then the weights, row by row. */
function network(widths, parameters, inputs) {
  let start = 0;
  for (let layer = 1; layer < widths.length; layer++) {
    const [from, to] = [widths[layer - 1], widths[layer]];
    const bias = parameters.slice(start, start + to);
    const kernel = parameters.slice(start + to, start + to * (from + 1));
    inputs = bias.map((b, j) => inputs.reduce((sum, z, i) => sum + z * kernel[i * to + j], b));
    if (layer < widths.length - 1) inputs = inputs.map(Math.tanh);
    start += to * (from + 1);
  }
  return inputs;
}

/** The trial function: conditions and symmetry built in, a coordinate stretched over the layer. */
function candidate({ widths, finalTime, layerWidth }, parameters, viscosity, t, x) {
  const delta = layerWidth * viscosity;
  const distance = Math.abs(x);
  const stretched = Math.asinh(distance / delta) / Math.asinh(1 / delta);
  const inputs = [(2 * t) / finalTime - 1, 2 * distance - 1, 2 * stretched - 1];
  const mask = t * Math.tanh(x / delta) * (1 - distance);
  return -Math.sin(Math.PI * x) + mask * network(widths, parameters, inputs)[0];
}

/** The exact solution, by the transformation of Cole and Hopf and Gauss-Hermite quadrature. */
function exact({ nodes, weights }, viscosity, t, x) {
  const y = nodes.map((node) => x - node * Math.sqrt(4 * viscosity * t));
  const exponents = y.map((z) => -Math.cos(Math.PI * z) / (2 * Math.PI * viscosity));
  const largest = Math.max(...exponents);
  const density = weights.map((weight, i) => weight * Math.exp(exponents[i] - largest));
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  return -sum(density.map((d, i) => Math.sin(Math.PI * y[i]) * d)) / sum(density);
}

function start(box, data) {
  const { viscosities, x, frames } = data;
  const [low, high] = [viscosities[0], viscosities.at(-1)].map(Math.log10);
  const viscosityAt = (share) => 10 ** (low + share * (high - low));
  const shareOf = (viscosity) => (Math.log10(viscosity) - low) / (high - low);
  const draw = ({ time, share }) => {
    const nu = viscosityAt(share);
    const parameters = interpolate(data, nu);
    const u = x.map((z) => candidate(data, parameters, nu, time, z));
    const truth = x.map((z) => exact(data, nu, time, z));
    const error = u.map((value, i) => Math.abs(value - truth[i]));
    for (const [name, values] of Object.entries({ network: u, exact: truth, error }))
      move(box, name, frames[name], x.map((z, i) => [z, values[i]]));
    return `largest error at this time: ${Math.max(...error).toExponential(1)}`;
  };
  const count = viscosities.length - 1;
  const panel = controls(box, {
    time: { label: "time", min: 0, max: data.finalTime, step: 0.01, value: data.time,
            text: (t) => `t = ${t.toFixed(2)}` },
    // Eight stops from donor to donor, if these lie evenly in the logarithm.
    share: { label: "viscosity", min: 0, max: 1, step: 1 / (8 * count), value: shareOf(data.viscosity),
             text: (share) => `ν = ${viscosityAt(share).toFixed(4)}` },
  }, draw);
  player(panel, panel.inputs.time);
}
