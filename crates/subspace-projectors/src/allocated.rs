//! The operator of a plan: $\alpha$ and gates to parameters, and gradients back.
//!
//! # Definition
//! With the parts of [`crate::allocation`] and the weights of [`crate::gate`], part $p$ of group $l$
//! receives $P_p (w_p \odot \alpha_{s(p)})$. With $u_p = P_p^\top g_p$ the gradients are
//! $$ g_\alpha = \sum_p w_p \odot u_p, \qquad
//!    g_{\gamma_l} = \sum_i \frac{\partial m_i}{\partial \gamma_l}\, \alpha_i (u^B_i - u^A_i), \qquad
//!    g_{\vartheta_l} = \gamma_l (1 - \gamma_l)\, g_{\gamma_l} . $$

use std::collections::BTreeMap;

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::allocation::{Choice, Part, Plan};
use crate::gate::{GateCode, sigmoid};
use crate::{
    Allocation, AllocationError, Group, Layout, Projector, ProjectorMethod, Shape, Side, Tensor,
};

/// All parameters as a function of $\alpha$ and the gates.
pub struct Allocated {
    shape: Shape,
    plan: Plan,
    parts: Vec<Built>,
}

struct Built {
    /// Its place among the parts of the plan.
    place: usize,
    projector: Box<dyn Projector>,
    /// The places of its parameters in the flat vector.
    parameters: Vec<u32>,
    /// Its parameters by group and side, as places in `parameters`.
    sides: BTreeMap<(Group, Side), Vec<usize>>,
    /// The gate and whether it gives B's weights; none for a weight of 1.
    gate: Option<(usize, Side)>,
}

/// When gates are looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moment {
    /// After this share of the training, 0 to 1.
    Training(f64),
    /// As they are stored: weights are those of the decoded gate. Slopes, for training on through the
    /// code, are those of the ramp that training began with.
    Coded,
}

/// The weights that all gates give at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Gates(Vec<Mask>);

#[derive(Debug, Clone, PartialEq)]
struct Mask {
    gamma: f64,
    /// B's, of each coordinate of the slice.
    weights: Vec<f32>,
    /// Their derivatives by the logit.
    slopes: Vec<f64>,
}

/// A number for one side of one group.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideValue {
    /// The group.
    pub group: Group,
    /// The side.
    pub side: Side,
    /// The number.
    pub value: f64,
}

impl Gates {
    /// $\gamma$, the share of B, of every gate.
    pub fn shares(&self) -> Vec<f64> {
        self.0.iter().map(|mask| mask.gamma).collect()
    }
}

impl Allocated {
    /// Spends `d` coordinates on `layout` with a projector of `method` for every part, each with a key of
    /// its own under `key`. One part of everything has `key` itself.
    ///
    /// # Errors
    /// [`AllocationError`].
    pub fn new(
        allocation: &dyn Allocation,
        method: &dyn ProjectorMethod,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Self, AllocationError> {
        let shape = Shape::checked(layout, d)?;
        let plan = allocation.plan(layout, d)?;
        let mut parts = Vec::new();
        for (place, part) in plan.parts.iter().enumerate() {
            if !part.coordinates.is_empty() {
                parts.push(Built::new(place, &plan, method, layout, key)?);
            }
        }
        Ok(Self { shape, plan, parts })
    }

    /// `D` and `d`.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Who receives which coordinates.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Number of gates, which is that of their logits. 0 for allocations that learn nothing.
    pub fn gate_count(&self) -> usize {
        self.plan.gated.as_ref().map_or(0, |it| it.groups.len())
    }

    /// The weights that `logits` stand for.
    ///
    /// # Panics
    /// If there are not as many logits as gates.
    pub fn gates(&self, logits: &[f32], moment: Moment) -> Gates {
        assert_eq!(logits.len(), self.gate_count(), "a logit for each gate");
        let Some(gated) = &self.plan.gated else { return Gates(Vec::new()) };
        let masks = logits.iter().zip(&gated.groups).map(|(&logit, &(_, width))| {
            let gamma = sigmoid(f64::from(logit));
            let gate = gated.gate.as_dyn();
            let ramp = match moment {
                Moment::Training(progress) => gate.ramp(width, progress),
                Moment::Coded => gate.ramp(width, 0.0),
            };
            let by_logit = gamma * (1.0 - gamma);
            let slopes = ramp.slopes(gamma, width).into_iter().map(|it| it * by_logit).collect();
            match moment {
                Moment::Training(_) => Mask { gamma, weights: ramp.weights(gamma, width), slopes },
                Moment::Coded => {
                    let code = gate.code(width);
                    let gamma = code.decode(code.encode(gamma, width), width);
                    Mask { gamma, weights: gate.ramp(width, 1.0).weights(gamma, width), slopes }
                }
            }
        });
        Gates(masks.collect())
    }

    /// Whether gates that are stored as whole splits are splits at this moment.
    pub fn is_settled(&self, moment: Moment) -> bool {
        let (Some(gated), Moment::Training(progress)) = (&self.plan.gated, moment) else {
            return true;
        };
        let gate = gated.gate.as_dyn();
        gated.groups.iter().all(|&(_, width)| {
            gate.code(width) != GateCode::Split
                || gate.ramp(width, progress).sharpness.is_infinite()
        })
    }

    /// Everything that was chosen or learned besides $\alpha$, as numbers below their limits.
    ///
    /// # Panics
    /// If there are not as many logits as gates.
    pub fn choices(&self, logits: &[f32]) -> Vec<Choice> {
        assert_eq!(logits.len(), self.gate_count(), "a logit for each gate");
        let gates = self.plan.gated.iter().flat_map(|gated| {
            logits.iter().zip(&gated.groups).map(|(&logit, &(_, width))| {
                let code = gated.gate.as_dyn().code(width);
                let value = code.encode(sigmoid(f64::from(logit)), width);
                Choice { value, below: code.values(width) }
            })
        });
        self.plan.choices.iter().copied().chain(gates).collect()
    }

    /// The gates of stored numbers, those of [`choices`](Self::choices).
    ///
    /// # Errors
    /// [`AllocationError::OtherCode`] if they are not of this allocation.
    pub fn decode(&self, values: &[u64]) -> Result<Gates, AllocationError> {
        let (chosen, codes) =
            values.split_at_checked(self.plan.choices.len()).unwrap_or((values, &[]));
        let expected: Vec<u64> = self.plan.choices.iter().map(|it| it.value).collect();
        let other =
            |expected: String| Err(AllocationError::OtherCode { found: values.to_vec(), expected });
        if chosen != expected || codes.len() != self.gate_count() {
            return other(format!("{expected:?} and {} gates", self.gate_count()));
        }
        let mut masks = Vec::new();
        for (&value, &(_, width)) in
            codes.iter().zip(self.plan.gated.iter().flat_map(|it| &it.groups))
        {
            let Some(gated) = &self.plan.gated else { break };
            let gate = gated.gate.as_dyn();
            let code = gate.code(width);
            if value >= code.values(width) {
                return other(format!("gates below {}", code.values(width)));
            }
            let gamma = code.decode(value, width);
            let weights = gate.ramp(width, 1.0).weights(gamma, width);
            masks.push(Mask { gamma, weights, slopes: vec![0.0; width] });
        }
        Ok(Gates(masks))
    }

    /// Overwrites `theta` with what $\alpha$ adds to the parameters.
    ///
    /// # Shapes
    /// - alpha: `[d]`
    /// - theta: `[D]`
    ///
    /// # Panics
    /// If a length is another, or the gates are not of this allocation.
    pub fn apply(&self, alpha: &[f32], gates: &Gates, theta: &mut [f32]) {
        self.shape.assert(alpha, theta);
        theta.fill(0.0);
        for part in &self.parts {
            let mut moved = vec![0.0; part.parameters.len()];
            part.projector.apply(&self.weighted(part, alpha, gates), &mut moved);
            part.parameters.iter().zip(moved).for_each(|(&to, value)| theta[to as usize] = value);
        }
    }

    /// The gradients of $\alpha$, `[d]`, and of the logits, `[gates]`, for the gradient `g`, `[D]`, of
    /// the parameters.
    ///
    /// # Panics
    /// If a length is another, or the gates are not of this allocation.
    #[expect(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
    pub fn pull_back(&self, alpha: &[f32], gates: &Gates, g: &[f32]) -> (Vec<f32>, Vec<f32>) {
        self.shape.assert(alpha, g);
        let mut out = vec![0.0; alpha.len()];
        let mut logits = vec![0.0_f64; self.gate_count()];
        for part in &self.parts {
            let slice = self.plan.parts[part.place].coordinates.clone();
            let pulled = part.pull_back(g);
            if let Some((gate, side)) = part.gate {
                let sign = if side == Side::B { 1.0 } else { -1.0 };
                let terms = alpha[slice.clone()].iter().zip(&pulled).zip(&gates.0[gate].slopes);
                logits[gate] += sign
                    * terms
                        .map(|((&x, &u), slope)| f64::from(x) * f64::from(u) * slope)
                        .sum::<f64>();
            }
            let weighted = part.weighted(&pulled, gates);
            out[slice].iter_mut().zip(weighted).for_each(|(out, value)| *out += value);
        }
        (out, logits.into_iter().map(|it| it as f32).collect())
    }

    /// $\lVert P_{l,A}^\top g_{l,A} \rVert$ and the same of B, for every group $l$: the gradient that the
    /// coordinates receive from each side, before any gate.
    ///
    /// # Panics
    /// If `g` is not `[D]`.
    pub fn side_gradients(&self, g: &[f32]) -> Vec<SideValue> {
        assert_eq!(g.len(), self.shape.ambient, "the ambient dimension");
        let mut squares = BTreeMap::<_, f64>::new();
        for part in &self.parts {
            for (side, places) in &part.sides {
                let mut only = vec![0.0; part.parameters.len()];
                for &it in places {
                    only[it] = g[part.parameters[it] as usize];
                }
                let mut pulled = vec![0.0; part.projector.shape().intrinsic];
                part.projector.apply_t(&only, &mut pulled);
                *squares.entry(*side).or_default() +=
                    pulled.iter().map(|&it| f64::from(it).powi(2)).sum::<f64>();
            }
        }
        side_values(squares.into_iter().map(|(side, square)| (side, square.sqrt())))
    }

    /// How many coordinates each side of each group has: those of its part, by their weights, in
    /// proportion to its share of the part's parameters. Without a gate they sum to $d$.
    ///
    /// # Panics
    /// If the gates are not of this allocation.
    pub fn effective_dimensions(&self, gates: &Gates) -> Vec<SideValue> {
        let ones = vec![1.0; self.shape.intrinsic];
        let mut dimensions = BTreeMap::<_, f64>::new();
        for part in &self.parts {
            let weights = self.weighted(part, &ones, gates);
            let all: f64 = weights.into_iter().map(f64::from).sum();
            for (side, places) in &part.sides {
                let share = places.len() as f64 / part.parameters.len() as f64;
                *dimensions.entry(*side).or_default() += all * share;
            }
        }
        side_values(dimensions)
    }

    /// The part's slice of `alpha` with its weights.
    fn weighted(&self, part: &Built, alpha: &[f32], gates: &Gates) -> Vec<f32> {
        part.weighted(&alpha[self.plan.parts[part.place].coordinates.clone()], gates)
    }
}

fn side_values(values: impl IntoIterator<Item = ((Group, Side), f64)>) -> Vec<SideValue> {
    let value = |((group, side), value)| SideValue { group, side, value };
    values.into_iter().map(value).collect()
}

impl Built {
    fn new(
        place: usize,
        plan: &Plan,
        method: &dyn ProjectorMethod,
        layout: &Layout,
        key: Key,
    ) -> Result<Self, AllocationError> {
        let part = &plan.parts[place];
        let tensors: Vec<&Tensor> = layout.tensors().iter().filter(|it| part.holds(it)).collect();
        let own = Layout::new(tensors.iter().map(|it| (it.name(), it.shape())))?;
        let (d, parameters) = (part.coordinates.len(), own.ambient());
        if d > parameters {
            return Err(AllocationError::TooWide { part: part.clone(), d, parameters });
        }
        let projector = method
            .build(&own, d, part.key(key))
            .map_err(|source| AllocationError::Projector { part: part.clone(), source })?;
        let mut sides = BTreeMap::<_, Vec<usize>>::new();
        for tensor in own.tensors() {
            if let Some(side) = tensor.side() {
                sides.entry((tensor.group(), side)).or_default().extend(tensor.range());
            }
        }
        let gate = plan.gated.as_ref().and_then(|gated| {
            let gate = gated.groups.iter().position(|(group, _)| Some(*group) == part.group)?;
            Some((gate, part.side?))
        });
        let parameters = tensors.iter().flat_map(|it| it.range());
        let parameters = parameters.map(|it| u32::try_from(it).expect("a layout counts in u32"));
        Ok(Self { place, projector, parameters: parameters.collect(), sides, gate })
    }

    /// The values of the coordinates of this part, each times its weight.
    fn weighted(&self, values: &[f32], gates: &Gates) -> Vec<f32> {
        let Some((gate, side)) = self.gate else { return values.to_vec() };
        let weights = &gates.0[gate].weights;
        assert_eq!(values.len(), weights.len(), "a weight for each coordinate");
        let weight = |&b: &f32| if side == Side::B { b } else { 1.0 - b };
        values.iter().zip(weights).map(|(value, b)| value * weight(b)).collect()
    }

    fn pull_back(&self, g: &[f32]) -> Vec<f32> {
        let own: Vec<f32> = self.parameters.iter().map(|&from| g[from as usize]).collect();
        let mut pulled = vec![0.0; self.projector.shape().intrinsic];
        self.projector.apply_t(&own, &mut pulled);
        pulled
    }
}

impl Part {
    /// Two parts never share a stream.
    fn key(&self, key: Key) -> Key {
        let group = match self.group {
            None => key,
            Some(Group::Layer(layer)) => key.derive("layer").index(u64::from(layer)),
            Some(Group::Rest) => key.derive("rest"),
        };
        match self.side {
            None => group,
            Some(Side::A) => group.derive("A"),
            Some(Side::B) => group.derive("B"),
        }
    }
}

#[cfg(test)]
mod tests;
