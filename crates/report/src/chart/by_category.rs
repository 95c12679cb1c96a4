//! Values by category: what bars and dots are drawn from.

use super::canvas::Sample;
use super::frame::Side;
use super::legend::Entry;
use super::look::Pen;
use super::{Look, Scale};
use crate::significant;

/// A value for each category.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CategorySeries {
    /// Its name in the legend.
    pub name: String,
    /// By category; what is missing or has no place on the axis is not drawn.
    pub values: Vec<Option<Estimate>>,
    /// What it is drawn with.
    pub look: Look,
}

/// A value and where it may be.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// From where to where it may be, such as from the lowest to the highest seed.
    pub interval: Option<(f64, f64)>,
}

impl From<f64> for Estimate {
    fn from(value: f64) -> Self {
        Self { value, interval: None }
    }
}

impl CategorySeries {
    /// A series of `values`, which may be numbers.
    pub fn new<V: Into<Estimate>>(
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<V>>,
    ) -> Self {
        let values = values.into_iter().map(|it| it.map(Into::into)).collect();
        Self { name: name.into(), values, look: Look::default() }
    }

    /// The series, drawn with `look`.
    #[must_use]
    pub fn look(self, look: Look) -> Self {
        Self { look, ..self }
    }

    /// The value in a category, if it can be drawn; of its interval, what can be.
    pub(crate) fn drawable(&self, category: usize, scale: Scale) -> Option<Estimate> {
        let estimate = self.values.get(category).copied().flatten()?;
        let interval = scale.drawable(estimate.interval);
        scale.admits(estimate.value).then_some(Estimate { interval, ..estimate })
    }
}

impl Estimate {
    /// The value and the ends of the interval.
    pub(crate) fn values(self) -> impl Iterator<Item = f64> {
        let ends = self.interval.into_iter().flat_map(|it| [it.0, it.1]);
        std::iter::once(self.value).chain(ends)
    }

    /// The value, with its interval, in words.
    pub(crate) fn describe(self) -> String {
        let value = significant(self.value, 4);
        match self.interval.map(|it| [it.0, it.1].map(|it| significant(it, 4))) {
            Some([low, high]) => format!("{value} [{low}, {high}]"),
            None => value,
        }
    }
}

/// A pen for each series.
pub(crate) fn pens(series: &[CategorySeries]) -> Vec<Pen> {
    series.iter().enumerate().map(|(place, it)| it.look.pen(place)).collect()
}

pub(crate) fn legend(series: &[CategorySeries], sample: Sample) -> Vec<Entry<'_>> {
    let entries = series.iter().zip(pens(series));
    entries.map(|(it, pen)| Entry { pen, sample, name: &it.name }).collect()
}

/// The axis of the categories, from the top; one without a name if there are none.
pub(crate) fn side(categories: &[String]) -> Side {
    let none = [String::new()];
    let names = if categories.is_empty() { none.to_vec() } else { categories.to_vec() };
    Side::Names { label: String::new(), names }
}

/// The upper and the lower end of lane `lane` of `lanes` in a category, along the axis.
pub(crate) fn lane(category: usize, lane: usize, lanes: usize) -> (f64, f64) {
    let height = 0.76 / lanes as f64;
    let top = category as f64 + 0.62 + lane as f64 * height;
    (top, top + height)
}

/// The height of a plot of `categories` with `lanes` of `lane` pixels in each.
pub(crate) fn height(categories: usize, lanes: usize, lane: f64) -> f64 {
    ((lanes as f64 * lane + 10.0) * categories as f64).clamp(60.0, 90_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_is_not_drawn_and_an_interval_only_whole() {
        let estimate = |value, low, high| Some(Estimate { value, interval: Some((low, high)) });
        let values =
            [estimate(2.0, 1.0, 3.0), estimate(2.0, 0.0, 3.0), estimate(0.0, 0.0, 0.0), None];
        let series = CategorySeries::new("", values);
        let drawn = |scale| (0..5).map(|it| series.drawable(it, scale)).collect::<Vec<_>>();
        assert_eq!(drawn(Scale::Linear), [values[0], values[1], values[2], None, None]);
        assert_eq!(drawn(Scale::Log), [values[0], Some(2.0.into()), None, None, None]);
        assert_eq!(
            Estimate { value: 2.0, interval: Some((1.0, 3.0)) }.describe(),
            "2.000 [1.000, 3.000]"
        );
    }
}
