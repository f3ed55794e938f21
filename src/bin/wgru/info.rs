//! `wgru info`: what a file holds and how it was understood.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};
use wgru::{
    Convention, Description, Directions, Evidence, Gru, GruConfig, ListedGru, OutputOrder,
    ResetForm,
};

use crate::failure::Failure;
use crate::options::ModelArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let listed = Gru::list_with(&args.model.model, &args.model.load_options()?)?;
    // Of several, each is listed; a single one has to load.
    let chosen = args.model.prefix.is_some() || args.model.node.is_some();
    let gru = match listed.len() {
        2.. if !chosen => match args.model.open() {
            Ok(gru) => Some(gru),
            Err(error) if error.kind() == wgru::ErrorKind::InvalidRequest => None,
            Err(error) => return Err(error.into()),
        },
        _ => Some(args.model.open()?),
    };
    let mut out = io::stdout().lock();
    if args.json {
        let value = json!({
            "file": args.model.model.display().to_string(),
            "selected": gru.as_ref().map(|g| selected_json(g.config(), g.description())),
            "networks": listed.iter().map(listed_json).collect::<Vec<_>>(),
        });
        writeln!(out, "{value:#}")?;
        return Ok(ExitCode::SUCCESS);
    }
    write!(out, "{}", args.model.model.display())?;
    if let Some(gru) = &gru {
        write_selected(&mut out, gru)?;
    } else {
        writeln!(out)?;
    }
    if listed.len() > 1 {
        writeln!(out, "\nrecurrent networks in this file:")?;
        for (index, one) in listed.iter().enumerate() {
            match one.convention {
                Convention::Onnx => writeln!(out, "  {index}: {one}")?,
                _ => writeln!(out, "  {one}")?,
            }
            if gru.is_none() {
                for note in &one.notes {
                    writeln!(out, "     note: {note}")?;
                }
                for warning in &one.warnings {
                    writeln!(out, "     WARNING: {warning}")?;
                }
            }
        }
        if gru.is_none() {
            let option = match listed[0].convention {
                Convention::Onnx => "--node and its name or number",
                _ => "--prefix",
            };
            writeln!(out, "choose one with {option}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_selected(out: &mut impl Write, gru: &Gru) -> io::Result<()> {
    let (c, d) = (gru.config(), gru.description());
    write!(out, ": {}", d.format)?;
    match &d.name {
        Some(name) => writeln!(out, ", GRU {name}")?,
        None => writeln!(out)?,
    }
    let mut line = |key: &str, value: String| writeln!(out, "  {key:<12} {value}");
    let reset = match c.reset {
        ResetForm::Before => "before  n = f(W_in x + b_in + W_hn (r*h) + b_hn)",
        ResetForm::After => "after  n = f(W_in x + b_in + r*(W_hn h + b_hn))",
    };
    let implied = match d.convention {
        Convention::Onnx => "[the operator's default]",
        Convention::Keras => "[by the bias's shape]",
        _ => "[the convention's only form]",
    };
    let names = "[by the tensors' names]";
    line("convention", format!("{}  {}", d.convention, how(d.convention_evidence, names)))?;
    line("reset", format!("{reset}  {}", how(d.reset_evidence, implied)))?;
    line("layers", format!("{}, {}", c.num_layers, c.directions))?;
    line(
        "sizes",
        format!("input {}, hidden {}, output {}", c.input_size, c.hidden_size, c.output_size()),
    )?;
    let implied = match d.convention {
        Convention::Onnx => "[the operator's default]",
        _ => "[the convention's]",
    };
    line("activations", format!("{}  {}", functions(c), how(d.activations_evidence, implied)))?;
    if d.output_order == OutputOrder::Processing {
        line("outputs", "in the order in which they are computed (go_backwards)".to_owned())?;
    }
    let types: Vec<String> = d.element_types.iter().map(ToString::to_string).collect();
    let bias = if d.bias { "with bias" } else { "no bias" };
    line("parameters", format!("{} of {}, {bias}", grouped(d.parameters), types.join(" and ")))?;
    if let Some(producer) = &d.producer {
        line("producer", producer.clone())?;
    }
    for note in &d.notes {
        line("note", note.clone())?;
    }
    for warning in &d.warnings {
        line("WARNING", warning.clone())?;
    }
    Ok(())
}

/// How sure a fact is; `implied` says by what, where the file does not state it.
fn how(evidence: Evidence, implied: &'static str) -> &'static str {
    match evidence {
        Evidence::Stated => "[the file states it]",
        Evidence::Asked => "[as asked]",
        Evidence::Implied => implied,
        Evidence::Assumed => "[assumed: nothing in the file says so]",
    }
}

fn functions(config: &GruConfig) -> String {
    let one = |f: &wgru::CellFunctions| {
        let clip = f.clip.map_or(String::new(), |c| format!(", inputs clipped to +-{c}"));
        format!("gates {}, candidate {}{clip}", f.gate, f.candidate)
    };
    let [first, second] = &config.functions;
    if config.directions == Directions::Bidirectional && first != second {
        format!("forward: {}; reverse: {}", one(first), one(second))
    } else {
        one(first)
    }
}

/// Digits in groups of three.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn selected_json(c: &GruConfig, d: &Description) -> Value {
    let functions = &c.functions[..c.num_directions()];
    let mut value = json!({
        "name": d.name.clone().unwrap_or_default(),
        "format": d.format.to_string(),
        "convention": d.convention.to_string(),
        "convention_evidence": d.convention_evidence.to_string(),
        "reset_evidence": d.reset_evidence.to_string(),
        "activations_evidence": d.activations_evidence.to_string(),
        "activations": functions.iter().map(|f| json!({
            "gate": f.gate.to_string(),
            "candidate": f.candidate.to_string(),
            "clip": f.clip,
        })).collect::<Vec<_>>(),
        "output_order": d.output_order.to_string(),
        "bias": d.bias,
        "parameters": d.parameters,
        "element_types": d.element_types.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "producer": d.producer,
        "notes": d.notes,
        "warnings": d.warnings,
    });
    add_sizes(&mut value, c);
    value
}

fn listed_json(listed: &ListedGru) -> Value {
    let mut value = json!({
        "name": listed.name,
        "convention": listed.convention.to_string(),
        "error": listed.config.as_ref().err(),
        "notes": listed.notes,
        "warnings": listed.warnings,
    });
    if let Ok(config) = &listed.config {
        add_sizes(&mut value, config);
    }
    value
}

fn add_sizes(value: &mut Value, c: &GruConfig) {
    value["input_size"] = json!(c.input_size);
    value["hidden_size"] = json!(c.hidden_size);
    value["num_layers"] = json!(c.num_layers);
    value["directions"] = json!(c.directions.to_string());
    value["reset"] = json!(c.reset.to_string());
}
