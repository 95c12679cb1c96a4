//! Selecting tensors of a layout by name.

use crate::{Layout, ProjectorError, Shape, Tensor};

/// The coordinates of a layout, those of the selected tensors first, for a projector of a checked shape.
pub(crate) struct Selection {
    /// Of the projector for all of the layout.
    pub(crate) shape: Shape,
    /// `[D]`: selected coordinates, then all others, each in the order of the layout.
    pub(crate) order: Vec<u32>,
    /// How many are selected.
    pub(crate) len: usize,
}

impl Selection {
    /// The tensors whose whole name matches one of the patterns, where `*` stands for any characters.
    pub(crate) fn new(
        layout: &Layout,
        d: usize,
        patterns: &[String],
    ) -> Result<Self, ProjectorError> {
        let shape = Shape::checked(layout, d)?;
        let (selected, rest): (Vec<_>, Vec<_>) = layout.tensors().iter().partition(|tensor| {
            patterns.iter().any(|pattern| name_matches(pattern, tensor.name()))
        });
        if selected.is_empty() {
            let example = layout.tensors().first().map_or("", |tensor| tensor.name()).to_owned();
            return Err(ProjectorError::NoSite { patterns: patterns.to_vec(), example });
        }
        let len = selected.iter().map(|tensor| tensor.range().len()).sum();
        let coordinates = selected.into_iter().chain(rest).flat_map(Tensor::range);
        let order =
            coordinates.map(|i| u32::try_from(i).expect("a layout counts in u32")).collect();
        Ok(Self { shape, order, len })
    }
}

/// Whether all of `name` is `pattern`, where `*` stands for any characters.
pub fn name_matches(pattern: &str, name: &str) -> bool {
    // Takes each `*` as short as possible and lengthens the last one when the text after it fails.
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut next) = (0, 0);
    let mut star = None;
    while next < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, next));
            at += 1;
        } else if pattern.get(at) == Some(&name[next]) {
            (at, next) = (at + 1, next + 1);
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            (at, next) = (star_at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        let name = "h.3.attn.q.lora_A";
        for pattern in [name, "*", "h.3.*", "*.lora_A", "h.*.q.*", "*3*q*A", "**lora_A**"] {
            assert!(name_matches(pattern, name), "{pattern}");
        }
        for pattern in ["", "h.3", "lora_A", "*.lora_B", "h.33.*", "*q*q*", "h.3.attn.q.lora_A.*"] {
            assert!(!name_matches(pattern, name), "{pattern}");
        }
    }

    #[test]
    fn the_selection_comes_first() {
        let layout = Layout::new([("a", [2]), ("b", [1]), ("c", [2])]).unwrap();
        let selection = Selection::new(&layout, 1, &["b".into(), "c*".into()]).unwrap();
        assert_eq!((selection.order, selection.len), (vec![2, 3, 4, 0, 1], 3));
    }

    #[test]
    fn an_empty_match_is_an_error() {
        let layout = Layout::new([("head.lora_A", [2])]).unwrap();
        let error = Selection::new(&layout, 1, &["*norm*".into()]).err().unwrap();
        let expected = "no tensor matches [\"*norm*\"], expected a name such as `head.lora_A`";
        assert_eq!(error.to_string(), expected);
    }
}
