//! A table: so many coordinates for each side of each layer.
//!
//! # Definition
//! Group $l$ (a block, or `rest` for what is in none) receives $d_{l,A}$ and $d_{l,B}$ coordinates of
//! its own, each through its own projector; $\sum_l d_{l,A} + d_{l,B} = d$. Slices follow one another
//! in the order of the groups, A before B. The numbers are those of a table; or, with a ratio $\rho$ in
//! thousandths, $d_{l,B} = \lfloor \rho d_l + 1/2 \rfloor$ of the slices of [`crate::Learned`], which
//! so has a control without gates; or else in proportion to the parameters.
//!
//! A table is paid for number by number, each one of those that the numbers before leave; a ratio as
//! one of 1001. Both cover the choice by a single run: whoever certifies several and keeps the best
//! counts them in `certify.configurations`.

use std::collections::BTreeMap;
use std::ops::Range;

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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PerLayer {
    /// $[d_{l,A}, d_{l,B}]$ of every group, by its name: `h.3`, or `rest` for the head.
    pub table: BTreeMap<Group, [usize; 2]>,
    /// Instead of a table, the share of B in the slice of each group, 0 to 1, with at most three
    /// decimals. Without either, sides are served in proportion to their parameters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
}

impl Allocation for PerLayer {
    fn plan(&self, layout: &Layout, d: usize) -> Result<Plan, AllocationError> {
        let sizes = super::sides(layout)?;
        let thousandths = self.ratio.map(super::thousandths).transpose()?;
        let counts: Vec<[usize; 2]> = match thousandths {
            Some(_) if !self.table.is_empty() => return Err(AllocationError::RatioAndTable),
            Some(thousandths) => {
                let split = |(_, slice): (Group, Range<usize>)| {
                    let d_b = (slice.len() * thousandths + 500) / 1000;
                    [slice.len() - d_b, d_b]
                };
                super::slices(layout, d)?.into_iter().map(split).collect()
            }
            None if !self.table.is_empty() => self.rows(&sizes, d)?,
            None if d < sizes.len() => {
                return Err(AllocationError::TooFew { d, groups: sizes.len() });
            }
            None => {
                let flat: Vec<usize> = sizes.iter().flat_map(|(_, sides)| *sides).collect();
                proportional(d, &flat, &flat).as_chunks().0.to_vec()
            }
        };
        let (mut parts, mut start) = (Vec::new(), 0);
        for ((group, _), counts) in sizes.iter().zip(&counts) {
            for (side, count) in [Side::A, Side::B].into_iter().zip(*counts) {
                let coordinates = start..start + count;
                start += count;
                parts.push(Part { group: Some(*group), side: Some(side), coordinates });
            }
        }
        let choices = match thousandths {
            Some(value) => vec![Choice { value: value as u64, below: 1001 }],
            None if self.table.is_empty() => Vec::new(),
            None => choices(&parts, d),
        };
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
        let row = |(name, row): &(&str, [usize; 2])| (name.parse().unwrap(), *row);
        PerLayer { table: rows.iter().map(row).collect(), ratio: None }
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
    fn a_ratio_divides_the_slices_of_the_gates() {
        let method = PerLayer { ratio: Some(0.8), ..PerLayer::default() };
        let plan = method.plan(&gpt2_small(), 1_000).unwrap();
        let found = |place: usize| plan.parts[place].coordinates.len();
        assert_eq!([found(0), found(1)], [7, 28]); // of 35
        assert_eq!([found(24), found(25)], [116, 464]); // of 580
        assert_eq!(plan.choices, [Choice { value: 800, below: 1001 }]);
        let both = PerLayer { ratio: Some(0.8), ..table(&[("h.0", [1, 1])]) };
        assert_eq!(both.plan(&tiny(), 2), Err(AllocationError::RatioAndTable));
        let few = PerLayer::default().plan(&tiny(), 2);
        assert_eq!(few, Err(AllocationError::TooFew { d: 2, groups: 3 }));
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
