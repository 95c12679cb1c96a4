//! In which pieces the matrices of a checkpoint are read: each alone, where its file has it in one piece.

use std::borrow::Cow;
use std::ops::Range;

use weight_files::{Checkpoint, Error};

use super::selection::Part;

/// Parts that are read together.
#[derive(Debug, PartialEq)]
pub(super) struct Reading {
    /// Of the tensor in the checkpoint.
    tensor: usize,
    /// Which elements, if it is one part alone; none if it is the whole tensor.
    alone: Option<Range<usize>>,
    /// Of the parts in the list of all.
    pub(super) parts: Range<usize>,
}

impl Reading {
    /// What is to be read for `parts`, in their order.
    pub(super) fn all(parts: &[Part], file: &Checkpoint) -> Vec<Self> {
        let (mut all, mut next) = (Vec::new(), 0);
        for of_tensor in parts.chunk_by(|a, b| a.tensor == b.tensor) {
            let (tensor, parts) = (of_tensor[0].tensor, next..next + of_tensor.len());
            next = parts.end;
            let ranges: Option<Vec<_>> = of_tensor.iter().map(Part::range).collect();
            match ranges.filter(|_| file.reads_parts(tensor)) {
                Some(ranges) => all.extend(parts.zip(ranges).map(|(part, range)| Self {
                    tensor,
                    alone: Some(range),
                    parts: part..part + 1,
                })),
                None => all.push(Self { tensor, alone: None, parts }),
            }
        }
        all
    }

    /// Replaces `values` by those of these parts.
    pub(super) fn read(&self, file: &mut Checkpoint, values: &mut Vec<f32>) -> Result<(), Error> {
        match &self.alone {
            Some(range) => file.read_part(self.tensor, range.clone(), values),
            None => file.read(self.tensor, values),
        }
    }

    /// Those of one of the parts.
    pub(super) fn values<'a>(&self, part: &Part, values: &'a [f32]) -> Cow<'a, [f32]> {
        match self.alone {
            Some(_) => Cow::Borrowed(values),
            None => part.values(values),
        }
    }
}
