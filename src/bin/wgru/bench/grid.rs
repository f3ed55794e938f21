//! The shapes that are timed.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wgru::{Directions, GruConfig, ResetForm, SequenceShape};

use crate::failure::Failure;

/// A shape of `benches/grid.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    #[serde(rename = "B")]
    pub(crate) batch: usize,
    #[serde(rename = "T")]
    pub(crate) steps: usize,
    #[serde(rename = "I")]
    pub(crate) input: usize,
    #[serde(rename = "H")]
    pub(crate) hidden: usize,
    #[serde(rename = "L")]
    pub(crate) layers: usize,
    #[serde(default)]
    pub(crate) bi: bool,
    /// Whether rows end at different steps.
    #[serde(default)]
    pub(crate) lengths: bool,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) who: String,
}

/// Which rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Choice {
    Small,
    All,
    Named(Vec<String>),
}

/// Every row, in the order of the file.
pub(crate) fn grid() -> Vec<Row> {
    let text = include_str!("../../../../benches/grid.json");
    serde_json::from_str(text).expect("the file is a part of the program and is tested")
}

/// The rows of a file like `benches/grid.json`, whose groups and remarks may be absent.
pub(crate) fn read(path: &Path) -> Result<Vec<Row>, Failure> {
    let wrong = |e: &dyn std::fmt::Display| Failure::Request(format!("{}: {e}", path.display()));
    let bytes = fs::read(path).map_err(|e| wrong(&format!("cannot read: {e}")))?;
    let rows: Vec<Row> = serde_json::from_slice(&bytes)
        .map_err(|e| wrong(&format!("a list of shapes was wanted (docs/bench-json.md): {e}")))?;
    for (i, row) in rows.iter().enumerate() {
        row.config(ResetForm::After)
            .validate()
            .map_err(|e| wrong(&format!("{}: {e}", row.name)))?;
        if row.batch == 0 || row.steps == 0 {
            return Err(wrong(&format!("{}: B and T must be at least 1", row.name)));
        }
        if row.name.is_empty() || rows[..i].iter().any(|r| r.name == row.name) {
            return Err(wrong(&format!("row {i} has the name '{}' of another, or none", row.name)));
        }
    }
    Ok(rows)
}

/// The rows of `choice`, in the order of the grid; names may also be those of groups.
pub(crate) fn choose(choice: &Choice, mut rows: Vec<Row>) -> Result<Vec<Row>, Failure> {
    let has = |row: &Row, word: &str| row.name == word || row.groups.iter().any(|g| g == word);
    match choice {
        // Sorting keeps the order among equals.
        Choice::All => rows.sort_by_key(|row| !has(row, "real")),
        Choice::Small => rows.retain(|row| has(row, "small")),
        Choice::Named(words) => {
            if let Some(word) = words.iter().find(|w| !rows.iter().any(|row| has(row, w))) {
                let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
                return Err(Failure::Request(format!(
                    "--only: there is no row '{word}'; there are {}, and the groups small, bar, \
                     real",
                    names.join(", ")
                )));
            }
            rows.retain(|row| words.iter().any(|word| has(row, word)));
        }
    }
    Ok(rows)
}

/// Networks of 256 units over batches of `most` rows at most: where the one device overtakes the
/// other.
pub(crate) fn sweep(most: usize) -> Vec<Row> {
    let batches = (0..).map(|i| 1usize << (2 * i)).take_while(|b| *b <= most);
    let row = |batch| Row {
        name: format!("sweep-b{batch}"),
        batch,
        steps: 32,
        input: 256,
        hidden: 256,
        layers: 1,
        groups: vec!["sweep".into()],
        who: "latency against batch".into(),
        ..Row::default()
    };
    batches.map(row).collect()
}

impl Row {
    pub(crate) fn config(&self, reset: ResetForm) -> GruConfig {
        let mut config = GruConfig::new(self.input, self.hidden);
        config.num_layers = self.layers;
        config.reset = reset;
        if self.bi {
            config.directions = Directions::Bidirectional;
        }
        config
    }

    pub(crate) fn shape(&self) -> SequenceShape {
        SequenceShape::new(self.steps, self.batch)
    }

    pub(crate) fn directions(&self) -> usize {
        if self.bi { 2 } else { 1 }
    }

    /// Floating-point operations of the matrix products for each step of each row of the batch.
    pub(crate) fn flops_per_row_step(&self) -> f64 {
        let width = self.directions() * self.hidden;
        let inputs = self.input + (self.layers - 1) * width + self.layers * self.hidden;
        6.0 * width as f64 * inputs as f64
    }

    /// Recurrent weights of all layers and directions.
    pub(crate) fn recurrent_weights(&self) -> f64 {
        (3 * self.layers * self.directions() * self.hidden * self.hidden) as f64
    }

    /// Bytes of host memory that a timed and verified run takes.
    pub(crate) fn host_bytes(&self) -> u64 {
        let per_step = self.input + self.directions() * self.hidden * (self.layers + 3);
        4 * (self.batch * self.steps) as u64 * per_step as u64
    }

    /// The shape in a few characters.
    pub(crate) fn title(&self) -> String {
        let mut text = format!("B{} T{} {}→{}", self.batch, self.steps, self.input, self.hidden);
        if self.layers > 1 {
            text.push_str(&format!(" L{}", self.layers));
        }
        if self.bi {
            text.push_str(" bi");
        }
        if self.lengths {
            text.push_str(" ragged");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_sound() {
        let rows = grid();
        for (i, row) in rows.iter().enumerate() {
            row.config(ResetForm::After).validate().unwrap();
            assert!(row.batch > 0 && row.steps > 0 && !row.who.is_empty(), "{row:?}");
            assert!(rows[..i].iter().all(|r| r.name != row.name), "{} twice", row.name);
            let known = |g: &String| ["small", "bar", "real"].contains(&g.as_str());
            assert!(!row.groups.is_empty() && row.groups.iter().all(known), "{row:?}");
        }
        // One flop count, by hand: two layers of 2 in two directions over 3 features.
        let row = Row { input: 3, hidden: 2, layers: 2, bi: true, ..Row::default() };
        assert_eq!(row.flops_per_row_step(), 2.0 * 6.0 * 2.0 * ((3.0 + 2.0) + (4.0 + 2.0)));
    }

    #[test]
    fn rows_are_chosen_by_name_and_group() {
        let names = |choice| -> Vec<String> {
            choose(&choice, grid()).unwrap().into_iter().map(|r| r.name).collect()
        };
        assert_eq!(names(Choice::Named(vec!["b64".into(), "step".into()])), ["step", "b64"]);
        assert_eq!(names(Choice::Named(vec!["small".into()])), names(Choice::Small));
        assert_eq!(names(Choice::All).len(), grid().len());
        assert!(choose(&Choice::Named(vec!["none".into()]), grid()).is_err());
        assert_eq!(sweep(256).iter().map(|r| r.batch).collect::<Vec<_>>(), [1, 4, 16, 64, 256]);
    }
}
