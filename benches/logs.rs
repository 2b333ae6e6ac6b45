//! Writes logs for other programs to read: `cargo bench --bench logs -- json FOLDER LINES` (or `text`, `docker`).

mod support;

use std::fs;
use std::path::Path;
use support::database;
use support::lines::Format;
use support::tree::Tree;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [format, folder, lines] = &args[..] else { panic!("json|text|docker FOLDER LINES") };
    let format = match format.as_str() {
        "json" => Format::Json,
        "text" => Format::Text,
        "docker" => Format::Docker,
        other => panic!("{other}: no such format"),
    };
    let folder = Path::new(folder);
    fs::create_dir_all(folder)?;
    fs::write(folder.join("country.mmdb"), database::country())?;
    fs::write(folder.join("city.mmdb"), database::city())?;
    let bytes = Tree::new(folder, format, 1)?.grow(lines.parse().expect("a number"))?;
    println!("{bytes} bytes");
    Ok(())
}
