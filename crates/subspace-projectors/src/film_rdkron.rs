//! Site selection and rounded double Kronecker together.
//!
//! # Definition
//! $P = (P_1 + P_2) / \sqrt 2$ with [`crate::Film`] on the chosen sites and [`crate::Rdkron`] on all
//! parameters, under keys of their own: every parameter trains, the chosen ones more.
//!
//! # Reference
//! S. Lotfi et al., arXiv:2211.13609, where the sites are those of batch normalisation.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::factor::Factor;
use crate::film::{Film, on_sites};
use crate::operator::Sum;
use crate::rdkron::rounded;
use crate::sites::Selection;
use crate::{Layout, Projector, ProjectorError, ProjectorMethod};

/// The normalised sum of site selection and rounded double Kronecker.
///
/// ```toml
/// kind = "film+rdkron"
/// sites = ["*.lora_B"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilmRdkron {
    /// Names of tensors, as in [`crate::Film`].
    pub sites: Vec<String>,
}

impl Default for FilmRdkron {
    fn default() -> Self {
        Self { sites: Film::default().sites }
    }
}

impl ProjectorMethod for FilmRdkron {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        Ok(sum(Selection::new(layout, d, &self.sites)?, Factor::gaussian, &key))
    }
}

/// The sum with either kind of factor.
pub(crate) fn sum(
    selection: Selection,
    factor: fn(usize, usize, &Key) -> Factor,
    key: &Key,
) -> Box<dyn Projector> {
    let kronecker = rounded(selection.shape, factor, key.derive("rdkron"));
    let film = on_sites(selection, &key.derive("film"));
    Box::new(Sum::new([film, kronecker]))
}
