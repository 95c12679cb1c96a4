//! A table: so many coordinates for each side of each layer.
//!
//! # Definition
//! Group $l$ (a block, or `rest` for what is in none) receives $d_{l,A}$ and $d_{l,B}$ coordinates of
//! its own, each through its own projector; $\sum_l d_{l,A} + d_{l,B} = d$. Slices follow one another
//! in the order of the groups, A before B. Without a table the numbers are proportional to the
//! parameters, and nothing was chosen.
//!
//! A table is paid for number by number, each one of those that the numbers before leave.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::proportional::proportional;
use super::{Allocation, Choice, Part, Plan};
use crate::{AllocationError, Group, Layout, Side};

/// An explicit number of coordinates for each side of each layer.
///
/// ```toml
/// kind = "per-layer"
/// table = { "h.0" = [20, 60], "h.1" = [10, 70], rest = [0, 40] }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerLayer {
    /// $[d_{l,A}, d_{l,B}]$ of every group, by its name: `h.3`, or `rest` for the head. Empty: in
    /// proportion to the parameters.
    pub table: BTreeMap<Group, [usize; 2]>,
}

impl Allocation for PerLayer {
    fn plan(&self, layout: &Layout, d: usize) -> Result<Plan, AllocationError> {
        let sizes = super::sides(layout)?;
        let counts: Vec<[usize; 2]> = if self.table.is_empty() {
            let flat: Vec<usize> = sizes.iter().flat_map(|(_, sides)| *sides).collect();
            proportional(d, &flat, &flat).as_chunks().0.to_vec()
        } else {
            self.rows(&sizes, d)?
        };
        let (mut parts, mut start) = (Vec::new(), 0);
        for ((group, _), counts) in sizes.iter().zip(&counts) {
            for (side, count) in [Side::A, Side::B].into_iter().zip(*counts) {
                let coordinates = start..start + count;
                start += count;
                parts.push(Part { group: Some(*group), side: Some(side), coordinates });
            }
        }
        let choices = if self.table.is_empty() { Vec::new() } else { choices(&parts, d) };
        Ok(Plan { parts, gated: None, choices })
    }
}

impl PerLayer {
    fn rows(
        &self,
        sizes: &[(Group, [usize; 2])],
        d: usize,
    ) -> Result<Vec<[usize; 2]>, AllocationError> {
        if let Some(unknown) = self.table.keys().find(|it| sizes.iter().all(|(its, _)| its != *it))
        {
            let known = sizes.iter().map(|(group, _)| *group).collect();
            return Err(AllocationError::UnknownGroup { group: *unknown, known });
        }
        let row = |(group, _): &(Group, [usize; 2])| {
            self.table.get(group).copied().ok_or(AllocationError::NoRow { group: *group })
        };
        let rows: Vec<[usize; 2]> = sizes.iter().map(row).collect::<Result<_, _>>()?;
        let sum = rows.iter().flatten().fold(0_usize, |sum, it| sum.saturating_add(*it));
        if sum == d { Ok(rows) } else { Err(AllocationError::Sum { sum, d }) }
    }
}

/// Every number but the last, which is what is left.
fn choices(parts: &[Part], d: usize) -> Vec<Choice> {
    let mut left = d as u64;
    let all_but_last = parts.split_last().map_or(&[][..], |(_, rest)| rest);
    let choice = |part: &Part| {
        let value = part.coordinates.len() as u64;
        let choice = Choice { value, below: left + 1 };
        left -= value;
        choice
    };
    all_but_last.iter().map(choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allocation::testing::{gpt2_small, tiny};

    fn table(rows: &[(&str, [usize; 2])]) -> PerLayer {
        PerLayer { table: rows.iter().map(|(name, row)| (name.parse().unwrap(), *row)).collect() }
    }

    #[test]
    fn slices_follow_one_another_and_are_paid() {
        let method = table(&[("h.0", [2, 3]), ("h.1", [0, 5]), ("rest", [1, 9])]);
        let plan = method.plan(&tiny(), 20).unwrap();
        let found: Vec<_> =
            plan.parts.iter().map(|it| (it.to_string(), it.coordinates.clone())).collect();
        let expected = [
            ("A of `h.0`", 0..2),
            ("B of `h.0`", 2..5),
            ("A of `h.1`", 5..5),
            ("B of `h.1`", 5..10),
            ("A of `rest`", 10..11),
            ("B of `rest`", 11..20),
        ];
        assert_eq!(found, expected.map(|(name, range)| (name.to_owned(), range)));
        // 20 to choose from, then 18, 15, 15, 10; the last is what is left.
        let expected = [(2, 21), (3, 19), (0, 16), (5, 16), (1, 11)];
        assert_eq!(plan.choices, expected.map(|(value, below)| Choice { value, below }));
    }

    #[test]
    fn without_a_table_in_proportion_and_free() {
        let plan = PerLayer::default().plan(&gpt2_small(), 351_744).unwrap();
        assert_eq!(plan.parts[0].coordinates, 0..6_144);
        assert_eq!(plan.parts[25].coordinates.len(), 201_216); // all of the head's B
        assert_eq!(plan.choices, []);
    }

    #[test]
    fn tables_that_do_not_fit() {
        let error = |rows: &[_], d| table(rows).plan(&tiny(), d).unwrap_err().to_string();
        let rows = [("h.0", [2, 3]), ("h.1", [0, 5]), ("rest", [1, 9])];
        assert_eq!(
            error(&rows, 21),
            "the table allocates 20 coordinates, expected all 21 of the intrinsic dimension"
        );
        assert_eq!(
            error(&rows[..2], 10),
            "the table has no row for `rest`, expected one for every group; [0, 0] leaves it alone"
        );
        let other = [rows[0], rows[1], rows[2], ("h.7", [1, 1])];
        assert_eq!(
            error(&other, 22),
            "the table has a row for `h.7`, expected only `h.0`, `h.1`, `rest`"
        );
        let huge = [("h.0", [usize::MAX, usize::MAX]), ("h.1", [0, 5]), ("rest", [1, 9])];
        assert!(error(&huge, 20).starts_with("the table allocates 18446744073709551615"));
    }
}
