//! What a run costs, and what of that its operations do.

use precision_schedule::{
    CostPolicy, MatchedWidth, Meter, Operands, Operation, OperationKind, Usage, Widths,
};
use serde::{Deserialize, Serialize};

/// What a run costs by one meter.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunCost {
    /// BitOPs of the run.
    pub bitops: u128,
    /// BitOPs of as many steps at the highest configured width.
    pub static_bitops: u128,
    /// The ratio of the two.
    pub relative: f64,
    /// The static training that costs as much as the run; none if all widths cost the same.
    pub matched: Option<MatchedWidth>,
}

/// What operations cost on one sequence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Multiply-accumulates of a forward pass.
    pub macs: u64,
    /// Of those of the whole network.
    pub share: f64,
    /// BitOPs of a training step at the lowest configured width.
    pub bitops_at_lowest: u128,
    /// BitOPs of a training step at the highest configured width.
    pub bitops_at_highest: u128,
}

/// What an operation costs, in all blocks together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OperationCost {
    /// Where in the network: `h.*.attn.c_attn` in every block.
    pub name: String,
    /// How many blocks have it; 1 beside the blocks.
    pub count: u64,
    /// What it is.
    pub kind: OperationKind,
    /// Whether the schedule changes its cost.
    pub precision: OperandPrecision,
    /// What all of them cost.
    pub cost: Cost,
}

/// What all operations of one precision cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartCost {
    /// That of the operations.
    pub precision: OperandPrecision,
    /// What they cost.
    pub cost: Cost,
}

/// The widths of the operands of an operation in a training step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperandPrecision {
    /// One of them at least has that of the schedule.
    Scheduled,
    /// The same in every step, and one of them at least below 32 bits.
    Fixed,
    /// 32 bits.
    Full,
}

impl RunCost {
    /// Of a run with a step.
    pub(super) fn new(meter: &Meter, usage: &Usage, highest: u32) -> Self {
        Self {
            bitops: meter.run(usage),
            static_bitops: u128::from(usage.steps()) * meter.step(highest),
            relative: meter.relative(usage, highest).unwrap_or_default(), // all widths cost
            matched: meter.matched(usage),
        }
    }
}

impl OperandPrecision {
    fn of(operation: &Operation, policy: &CostPolicy) -> Self {
        let meter = operation.meter(policy);
        if meter.is_scheduled() {
            return Self::Scheduled;
        }
        let [linear, adapters, attention, head] = [Operands::FULL; 4];
        let full = CostPolicy { base: policy.base, linear, adapters, attention, head };
        if meter == operation.meter(&full) { Self::Full } else { Self::Fixed }
    }
}

/// The operations of a network with what their cost depends on.
pub(super) struct Pricing<'a> {
    operations: &'a [Operation],
    policy: &'a CostPolicy,
    widths: &'a Widths,
    macs: u64,
}

impl<'a> Pricing<'a> {
    pub(super) fn new(
        operations: &'a [Operation],
        policy: &'a CostPolicy,
        widths: &'a Widths,
    ) -> Self {
        let macs = operations.iter().map(|it| it.macs).sum();
        Self { operations, policy, widths, macs }
    }

    /// Every operation once, with its count.
    pub(super) fn operations(&self) -> Vec<OperationCost> {
        let mut groups: Vec<(String, Vec<&Operation>)> = Vec::new();
        for operation in self.operations {
            let name = in_every_block(&operation.name);
            match groups.iter_mut().find(|it| it.0 == name) {
                Some((_, group)) => group.push(operation),
                None => groups.push((name, vec![operation])),
            }
        }
        let price = |(name, group): (String, Vec<&Operation>)| OperationCost {
            name,
            count: group.len() as u64,
            kind: group[0].kind, // equal names are equal operations
            precision: OperandPrecision::of(group[0], self.policy),
            cost: self.cost(group),
        };
        groups.into_iter().map(price).collect()
    }

    /// The precisions that there are.
    pub(super) fn parts(&self) -> Vec<PartCost> {
        let part = |precision| {
            let is_part = |it: &&Operation| OperandPrecision::of(it, self.policy) == precision;
            let mut operations = self.operations.iter().filter(is_part).peekable();
            operations.peek()?;
            Some(PartCost { precision, cost: self.cost(operations) })
        };
        let precisions =
            [OperandPrecision::Scheduled, OperandPrecision::Fixed, OperandPrecision::Full];
        precisions.into_iter().filter_map(part).collect()
    }

    pub(super) fn total(&self) -> Cost {
        self.cost(self.operations)
    }

    fn cost<'b>(&self, operations: impl IntoIterator<Item = &'b Operation>) -> Cost {
        let of_one = |it: &Operation| (it.macs, it.meter(self.policy));
        let (macs, meters): (Vec<u64>, Vec<Meter>) = operations.into_iter().map(of_one).unzip();
        let (macs, meter): (u64, Meter) = (macs.into_iter().sum(), meters.into_iter().sum());
        Cost {
            macs,
            share: macs as f64 / self.macs as f64,
            bitops_at_lowest: meter.step(self.widths.lowest()),
            bitops_at_highest: meter.step(self.widths.highest()),
        }
    }
}

/// `h.3.attn.c_attn` as `h.*.attn.c_attn`; what is beside the blocks as it is.
fn in_every_block(name: &str) -> String {
    let inside = name.strip_prefix("h.").and_then(|it| it.split_once('.'));
    inside.map_or_else(|| name.to_owned(), |(_, inside)| format!("h.*.{inside}"))
}
