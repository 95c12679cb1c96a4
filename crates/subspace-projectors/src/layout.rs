//! The order of the trainable tensors in one flat vector, and the group that each belongs to.
//!
//! # Definition
//! Tensors follow one another in the order given, each row-major and without gaps. A name such as
//! `h.3.attn.q.lora_A` tells the group (layer 3) and the matrix (A) of a tensor; a name without `h.N`
//! is in the group of everything else, for example the head. So every tensor is in exactly one group.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::LayoutError;

/// The trainable tensors of a model in the order of the flat vector.
///
/// ```
/// use subspace_projectors::{Group, Layout, Side};
///
/// let layout = Layout::new([("h.0.attn.q.lora_A", [4, 8]), ("h.0.attn.q.lora_B", [8, 4])])?;
/// assert_eq!(layout.ambient(), 64);
/// let b = &layout.tensors()[1];
/// assert_eq!((b.group(), b.side(), b.range()), (Group::Layer(0), Some(Side::B), 32..64));
/// # Ok::<(), subspace_projectors::LayoutError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<Tensor>,
    /// The place of each name in `tensors`.
    places: BTreeMap<String, usize>,
    ambient: usize,
}

/// One tensor of a [`Layout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    name: String,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// The part of the model that a tensor belongs to.
///
/// Written `h.3` and `rest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Group {
    /// The block with this number.
    Layer(u32),
    /// Outside the blocks: the head.
    Rest,
}

/// The side of a low-rank product $B A$ that a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Side {
    /// The input side, random at the start.
    A,
    /// The output side, zero at the start.
    B,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layer(layer) => write!(f, "h.{layer}"),
            Self::Rest => f.write_str("rest"),
        }
    }
}

impl FromStr for Group {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let layer = name.strip_prefix("h.").and_then(|layer| layer.parse().ok()).map(Self::Layer);
        let group = if name == "rest" { Some(Self::Rest) } else { layer };
        // No second spelling, such as `h.03`.
        let group = group.filter(|group| group.to_string() == name);
        group.ok_or_else(|| format!("`{name}` is no group, expected `h.N` or `rest`"))
    }
}

impl TryFrom<String> for Group {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Group> for String {
    fn from(group: Group) -> Self {
        group.to_string()
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

impl Layout {
    /// Lays out the tensors, given by name and shape, one after the other.
    ///
    /// # Errors
    /// [`LayoutError::Duplicate`], [`LayoutError::NoElement`], and [`LayoutError::TooLarge`] above
    /// `u32::MAX` elements in all.
    pub fn new<N: Into<String>, S: Into<Vec<usize>>>(
        tensors: impl IntoIterator<Item = (N, S)>,
    ) -> Result<Self, LayoutError> {
        let mut layout = Self { tensors: Vec::new(), places: BTreeMap::new(), ambient: 0 };
        for (name, shape) in tensors {
            let (name, shape) = (name.into(), shape.into());
            if layout.places.insert(name.clone(), layout.tensors.len()).is_some() {
                return Err(LayoutError::Duplicate { name });
            }
            if shape.contains(&0) {
                return Err(LayoutError::NoElement { name, shape });
            }
            let end = shape
                .iter()
                .try_fold(1_usize, |len, &side| len.checked_mul(side))
                .and_then(|len| len.checked_add(layout.ambient))
                .filter(|&end| u32::try_from(end).is_ok());
            let Some(end) = end else { return Err(LayoutError::TooLarge { name }) };
            layout.tensors.push(Tensor { name, shape, range: layout.ambient..end });
            layout.ambient = end;
        }
        Ok(layout)
    }

    /// The number `D` of trainable parameters.
    pub fn ambient(&self) -> usize {
        self.ambient
    }

    /// The tensors in order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of this name, found in the logarithm of their number.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.places.get(name).map(|&place| &self.tensors[place])
    }

    /// The tensors of each group.
    pub fn groups(&self) -> BTreeMap<Group, Vec<&Tensor>> {
        let mut groups = BTreeMap::<_, Vec<_>>::new();
        for tensor in &self.tensors {
            groups.entry(tensor.group()).or_default().push(tensor);
        }
        groups
    }

    /// Joins the elements of all tensors, given in order and row-major, to `[D]`.
    ///
    /// # Errors
    /// [`LayoutError::Count`] and [`LayoutError::Length`].
    pub fn flatten<T: AsRef<[f32]>>(&self, tensors: &[T]) -> Result<Vec<f32>, LayoutError> {
        if tensors.len() != self.tensors.len() {
            return Err(LayoutError::Count { found: tensors.len(), expected: self.tensors.len() });
        }
        let mut flat = Vec::with_capacity(self.ambient);
        for (tensor, elements) in self.tensors.iter().zip(tensors) {
            let (found, expected) = (elements.as_ref().len(), tensor.range.len());
            if found != expected {
                return Err(LayoutError::Length { name: tensor.name.clone(), found, expected });
            }
            flat.extend_from_slice(elements.as_ref());
        }
        Ok(flat)
    }

    /// The elements of each tensor in a vector `[D]`: the inverse of [`Layout::flatten`].
    ///
    /// # Errors
    /// [`LayoutError::Flat`].
    pub fn unflatten<'a>(
        &'a self,
        flat: &'a [f32],
    ) -> Result<impl ExactSizeIterator<Item = (&'a Tensor, &'a [f32])>, LayoutError> {
        if flat.len() != self.ambient {
            return Err(LayoutError::Flat { found: flat.len(), expected: self.ambient });
        }
        Ok(self.tensors.iter().map(|tensor| (tensor, &flat[tensor.range()])))
    }
}

impl Tensor {
    /// For example `h.3.attn.q.lora_A`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The extents, row-major.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The coordinates in the flat vector.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The block named by `h.N`, at the start or after a dot.
    pub fn group(&self) -> Group {
        let mut parts = self.name.split('.').skip_while(|&part| part != "h").skip(1);
        parts.next().and_then(|layer| layer.parse().ok()).map_or(Group::Rest, Group::Layer)
    }

    /// The side named by `lora_A` or `lora_B`.
    pub fn side(&self) -> Option<Side> {
        self.name.split('.').find_map(|part| match part {
            "lora_A" => Some(Side::A),
            "lora_B" => Some(Side::B),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GPT-2 small with rank 4 on q, v and the head of 50 304 tokens.
    fn gpt2_small() -> Layout {
        let sites =
            (0..12).flat_map(|layer| ["q", "v"].map(|site| format!("h.{layer}.attn.{site}")));
        let sites = sites.map(|site| (site, 768)).chain([("head".to_owned(), 50_304)]);
        Layout::new(sites.flat_map(|(site, output)| {
            [(format!("{site}.lora_A"), [4, 768]), (format!("{site}.lora_B"), [output, 4])]
        }))
        .unwrap()
    }

    #[test]
    fn gpt2_small_has_thirteen_groups() {
        let layout = gpt2_small();
        assert_eq!(layout.ambient(), 351_744); // 12 * 2 * 2 * 4 * 768 + 4 * (768 + 50 304)
        let groups = layout.groups();
        assert_eq!(groups.len(), 13);
        assert_eq!(groups.values().map(Vec::len).sum::<usize>(), layout.tensors().len());
        let names: Vec<_> = groups[&Group::Rest].iter().map(|tensor| tensor.name()).collect();
        assert_eq!(names, ["head.lora_A", "head.lora_B"]);
        let a = layout.tensors().iter().filter(|tensor| tensor.side() == Some(Side::A));
        assert_eq!(a.map(|tensor| tensor.range().len()).sum::<usize>(), 76_800);
    }

    #[test]
    fn every_tensor_is_found_by_its_name_and_no_other() {
        let layout = gpt2_small();
        for tensor in layout.tensors() {
            assert_eq!(layout.tensor(tensor.name()), Some(tensor));
        }
        for name in ["", "head", "h.0.attn.q", "h.12.attn.q.lora_A", "head.lora_A.weight"] {
            assert_eq!(layout.tensor(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_other_conventions() {
        let layout = Layout::new([
            ("transformer.h.11.mlp.c_fc.lora_B.weight", vec![2]),
            ("wte", vec![3, 1]),
            ("h.x.ln", vec![]),
        ])
        .unwrap();
        let found: Vec<_> =
            layout.tensors().iter().map(|tensor| (tensor.group(), tensor.side())).collect();
        let expected =
            [(Group::Layer(11), Some(Side::B)), (Group::Rest, None), (Group::Rest, None)];
        assert_eq!(found, expected);
        assert_eq!(layout.ambient(), 6); // a tensor without extents is one number
    }

    #[test]
    fn flatten_and_back() {
        let layout = Layout::new([("a", vec![2, 2]), ("b", vec![3])]).unwrap();
        let flat = layout.flatten(&[vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0]]).unwrap();
        assert_eq!(flat, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        let parts: Vec<_> = layout.unflatten(&flat).unwrap().map(|(t, x)| (t.name(), x)).collect();
        assert_eq!(parts, [("a", &flat[..4]), ("b", &flat[4..])]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let twice = Layout::new([("a", [1]), ("a", [1])]);
        assert_eq!(twice, Err(LayoutError::Duplicate { name: "a".into() }));
        let empty = Layout::new([("a", [3, 0])]);
        assert_eq!(empty, Err(LayoutError::NoElement { name: "a".into(), shape: vec![3, 0] }));
        for shape in [[1 << 16, 1 << 16], [usize::MAX, 2]] {
            let large = Layout::new([("a", shape)]);
            assert_eq!(large, Err(LayoutError::TooLarge { name: "a".into() }));
        }
        let layout = Layout::new([("a", [2])]).unwrap();
        let count = layout.flatten::<[f32; 2]>(&[]);
        assert_eq!(count, Err(LayoutError::Count { found: 0, expected: 1 }));
        let length = layout.flatten(&[[0.0]]);
        let expected = LayoutError::Length { name: "a".into(), found: 1, expected: 2 };
        assert_eq!(length, Err(expected));
        let flat = layout.unflatten(&[0.0]).err();
        assert_eq!(flat, Some(LayoutError::Flat { found: 1, expected: 2 }));
    }
}
