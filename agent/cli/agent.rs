//! SCAFFOLD
use super::exit::Exit;
use super::load::load_file;
pub fn run(args: &[String]) -> Exit {
    let file = args.iter().find_map(|a| a.strip_prefix("-config.file=")).unwrap();
    let loaded = load_file(std::path::Path::new(file), true).unwrap();
    eprint!("{}", loaded.report(file));
    let Some(config) = loaded.config else { return Exit::Failed };
    super::once::one_shot(&config, false)
}
