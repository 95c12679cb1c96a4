//! What a run measured on its way: losses, gates and gradients at the steps that were evaluated.

use std::collections::BTreeMap;
use std::path::Path;

use subspace_projectors::{Group, Side};

use crate::{Error, metrics};

/// Values by step, in the order of the steps.
pub(super) type Curve = Vec<(u64, f64)>;

/// The metrics of a training.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Trace {
    /// Held-out loss in bits per token.
    pub(super) held_out: Curve,
    /// $\gamma$ of every gate, the share of B.
    pub(super) gates: BTreeMap<Group, Curve>,
    /// $\lVert P^\top g \rVert$ of every side of every group.
    pub(super) gradients: BTreeMap<(Group, Side), Curve>,
}

/// How a gate went from one half, where it begins, to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Movement {
    /// $\sum \lvert \Delta \gamma \rvert$ from one evaluation to the next.
    pub(super) path: f64,
    /// Pairs of changes that follow one another, those that are none left out.
    pub(super) pairs: usize,
    /// Those of them that go opposite ways.
    pub(super) flips: usize,
}

impl Trace {
    /// Of the run in `folder`.
    ///
    /// # Errors
    /// No metrics, or a line that is none of ours.
    pub(super) fn read(folder: &Path) -> Result<Self, Error> {
        let mut trace = Self::default();
        for record in metrics::read(&folder.join("train"))? {
            for (name, value) in record.values {
                let Some(value) = value else { continue };
                if let Some(curve) = trace.curve(&name) {
                    curve.push((record.step, value));
                }
            }
        }
        Ok(trace)
    }

    /// Where the values of a metric go, if they are of use here.
    fn curve(&mut self, name: &str) -> Option<&mut Curve> {
        if name == "held_out/bits_per_token" {
            return Some(&mut self.held_out);
        }
        let (kind, group) = name.split_once('/')?;
        let group = group.parse().ok()?;
        match kind {
            "gate" => Some(self.gates.entry(group).or_default()),
            "gradient_A" => Some(self.gradients.entry((group, Side::A)).or_default()),
            "gradient_B" => Some(self.gradients.entry((group, Side::B)).or_default()),
            _ => None,
        }
    }

    /// The norm over all groups of the gradients of a side.
    pub(super) fn gradient(&self, side: Side) -> Curve {
        let mut squares = BTreeMap::<u64, f64>::new();
        for ((_, of), curve) in &self.gradients {
            for (step, norm) in curve.iter().filter(|_| *of == side) {
                *squares.entry(*step).or_default() += norm * norm;
            }
        }
        squares.into_iter().map(|(step, square)| (step, square.sqrt())).collect()
    }

    /// The last norm of a side of a group.
    pub(super) fn last_gradient(&self, group: Group, side: Side) -> Option<f64> {
        self.gradients.get(&(group, side))?.last().map(|it| it.1)
    }
}

impl Movement {
    /// Along `curve`, from 1/2 before its first step.
    pub(super) fn of(curve: &Curve) -> Self {
        let values: Vec<f64> = [0.5].into_iter().chain(curve.iter().map(|it| it.1)).collect();
        let changes: Vec<f64> = values.windows(2).map(|it| it[1] - it[0]).collect();
        let signs: Vec<bool> =
            changes.iter().filter(|it| **it != 0.0).map(|it| *it > 0.0).collect();
        Self {
            path: changes.iter().map(|it| it.abs()).sum(),
            pairs: signs.len().saturating_sub(1),
            flips: signs.windows(2).filter(|it| it[0] != it[1]).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"{"step":2,"train/bits_per_token":5.5,"learning_rate":0.01}
{"step":2,"held_out/bits_per_token":5.25,"gate/h.0":0.5,"gate/rest":0.75,"gradient_A/h.0":3.0,"gradient_A/rest":4.0,"gradient_B/h.0":null}
{"step":4,"held_out/bits_per_token":5.0,"gate/h.0":0.625,"gate/layers":0.5,"gradient_A/h.0":1.0}
{"step":4,"cut off"#;

    #[test]
    fn metrics_become_curves() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("train")).unwrap();
        std::fs::write(dir.path().join("train/metrics.jsonl"), METRICS).unwrap();
        let trace = Trace::read(dir.path()).unwrap();
        assert_eq!(trace.held_out, [(2, 5.25), (4, 5.0)]);
        assert_eq!(trace.gates[&Group::Layer(0)], [(2, 0.5), (4, 0.625)]);
        assert_eq!(trace.gates[&Group::Rest], [(2, 0.75)]);
        assert_eq!(trace.gates.len(), 2);
        assert_eq!(trace.gradient(Side::A), [(2, 5.0), (4, 1.0)]); // 3, 4, 5
        assert_eq!(trace.gradient(Side::B), []);
        assert_eq!(trace.last_gradient(Group::Layer(0), Side::A), Some(1.0));
        assert_eq!(trace.last_gradient(Group::Layer(1), Side::A), None);
        let missing = Trace::read(&dir.path().join("other")).unwrap_err().to_string();
        assert!(missing.contains("metrics.jsonl"), "{missing}");
    }

    #[test]
    fn movement_by_hand() {
        // 1/2 up to 3/4, stays, down to 5/8, up to 1: two of the two pairs turn.
        let curve = vec![(1, 0.75), (2, 0.75), (3, 0.625), (4, 1.0)];
        assert_eq!(Movement::of(&curve), Movement { path: 0.75, pairs: 2, flips: 2 });
        let steady = vec![(1, 0.25), (2, 0.125)];
        assert_eq!(Movement::of(&steady), Movement { path: 0.375, pairs: 1, flips: 0 });
        assert_eq!(Movement::of(&vec![(1, 0.5)]), Movement::default());
        assert_eq!(Movement::of(&Vec::new()), Movement::default());
    }
}
