// A crowd on the ring in its equilibrium: density and velocity, through time, for any viscosity.
//
// Curves: density, velocity. Data:
//   alpha, beta, horizon  of the game;
//   x                     where the curves are drawn;
//   viscosity, time       to begin with.

/** Density and velocity at the equilibrium of the cosine game on the ring, in closed form. */
function equilibrium({ alpha, beta, horizon }, viscosity, t, x) {
  const k = 2 * Math.PI;
  const rate = viscosity * k ** 2;
  const mass = 1 + (alpha * beta * Math.exp(-rate * horizon)) / 2;
  const a = alpha * Math.exp(rate * (t - horizon));
  const b = (beta * Math.exp(-rate * t)) / mass;
  const phi = 1 + a * Math.cos(k * x);
  const psi = 1 / mass + b * Math.cos(k * x);
  // The velocity is -u_x, with the value u = -2ν log φ.
  return { density: phi * psi, velocity: (-2 * viscosity * a * k * Math.sin(k * x)) / phi };
}

function start(box, data) {
  const { x, horizon, frames } = data;
  const draw = ({ time, power }) => {
    const fields = x.map((z) => equilibrium(data, 10 ** power, time, z));
    for (const name of ["density", "velocity"])
      move(box, name, frames[name], fields.map((field, i) => [x[i], field[name]]));
    const fastest = Math.max(...fields.map((field) => Math.abs(field.velocity)));
    return `fastest agents: ${fastest.toFixed(2)} (length / time)`;
  };
  const panel = controls(box, {
    time: { label: "time", min: 0, max: horizon, step: horizon / 40, value: data.time,
            text: (t) => `t = ${t.toFixed(3)}` },
    power: { label: "viscosity", min: -2, max: -0.7, step: 0.05, value: Math.log10(data.viscosity),
             text: (power) => `ν = ${(10 ** power).toFixed(3)}` },
  }, draw);
  player(panel, panel.inputs.time);
}
