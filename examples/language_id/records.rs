//! What `train.py` left: held-out words, PyTorch's results for them, and what it measured.

use std::error::Error;

use serde_json::Value;

/// Held-out words with the class of each.
pub(crate) fn held_out(languages: &[String]) -> Result<(Vec<String>, Vec<usize>), Box<dyn Error>> {
    let mut out = (Vec::new(), Vec::new());
    for line in include_str!("held_out.tsv").lines() {
        let (word, language) =
            line.split_once('\t').ok_or_else(|| format!("no tab in '{line}'"))?;
        let class = languages.iter().position(|l| l == language);
        out.0.push(word.to_owned());
        out.1.push(class.ok_or_else(|| format!("'{language}' is no class of the model"))?);
    }
    Ok(out)
}

/// PyTorch's results for the held-out words, computed in float64.
pub(crate) struct Golden {
    /// The class of each word.
    pub(crate) predicted: Vec<usize>,
    /// Words with logits in full, and these.
    pub(crate) logits: Vec<(usize, Vec<f64>)>,
}

impl Golden {
    pub(crate) fn load() -> Result<Self, Box<dyn Error>> {
        let value: Value = serde_json::from_str(include_str!("golden.json"))?;
        let rows: Vec<usize> = serde_json::from_value(value["exact_rows"].clone())?;
        let logits: Vec<Vec<f64>> = serde_json::from_value(value["exact_logits"].clone())?;
        Ok(Self {
            predicted: serde_json::from_value(value["predicted"].clone())?,
            logits: rows.into_iter().zip(logits).collect(),
        })
    }
}

/// What the training script measured for one network on all its held-out words.
pub(crate) struct Trained {
    pub(crate) parameters: u64,
    pub(crate) accuracy: f64,
}

/// The figures of `network`, "GRU" or "RNN" (first seed).
pub(crate) fn trained(network: &str) -> Result<Trained, Box<dyn Error>> {
    let value: Value = serde_json::from_str(include_str!("results.json"))?;
    let model = &value["models"][network];
    let missing = || format!("results.json has no figures of {network}");
    Ok(Trained {
        parameters: model["parameters"].as_u64().ok_or_else(missing)?,
        accuracy: model["runs"][0]["held_out_accuracy"].as_f64().ok_or_else(missing)?,
    })
}
