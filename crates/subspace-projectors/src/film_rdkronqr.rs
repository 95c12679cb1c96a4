//! Site selection and rounded double Kronecker with orthonormal factors together.
//!
//! # Definition
//! $P = (P_1 + P_2) / \sqrt 2$ with [`crate::Film`] on the chosen sites and [`crate::Rdkronqr`] on all
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
use crate::{Layout, Projector, ProjectorError, ProjectorMethod, Shape};

/// The normalised sum of site selection and rounded double Kronecker with orthonormal factors.
///
/// ```toml
/// kind = "film+rdkronqr"
/// sites = ["*.lora_B"]
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilmRdkronqr {
    /// Names of tensors, as in [`crate::Film`].
    pub sites: Vec<String>,
}

impl Default for FilmRdkronqr {
    fn default() -> Self {
        Self { sites: Film::default().sites }
    }
}

impl ProjectorMethod for FilmRdkronqr {
    fn build(
        &self,
        layout: &Layout,
        d: usize,
        key: Key,
    ) -> Result<Box<dyn Projector>, ProjectorError> {
        let shape = Shape::checked(layout, d)?;
        let selection = Selection::new(layout, &self.sites)?;
        let film = on_sites(shape, selection, &key.derive("film"));
        let kronecker = rounded(shape, Factor::orthonormal, key.derive("rdkron"));
        Ok(Box::new(Sum::new([film, kronecker])))
    }
}
