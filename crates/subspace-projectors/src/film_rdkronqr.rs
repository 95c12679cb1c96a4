//! Site selection and rounded double Kronecker with orthonormal factors together.
//!
//! # Definition
//! As [`crate::FilmRdkron`], with [`crate::Rdkronqr`] in place of [`crate::Rdkron`].
//!
//! # Reference
//! S. Lotfi et al., arXiv:2211.13609, where the sites are those of batch normalisation.

use counter_rng::Key;
use serde::{Deserialize, Serialize};

use crate::factor::Factor;
use crate::film::Film;
use crate::film_rdkron::sum;
use crate::sites::Selection;
use crate::{Layout, Projector, ProjectorError, ProjectorMethod};

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
        Ok(sum(Selection::new(layout, d, &self.sites)?, Factor::orthonormal, &key))
    }
}
