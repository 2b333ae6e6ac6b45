"""Debian's Alertmanager with the shipped configuration and texts; its Telegram is the proof's."""

import shutil

import yaml

import telegram
from programs import Program, free_port
from rules import shorter_waits


def configuration(shipped, templates, telegram_url):
    """The shipped file as 0.25 takes it, with the proof's addresses; routes and texts stay.

    0.25 does not know `bot_token_file`: the token stands there instead.
    """
    config = shorter_waits(yaml.safe_load(shipped.read_text()))
    # Where mail goes to is of no use here, and its password is no file here.
    config["global"] = {key: value for key, value in config.get("global", {}).items() if key == "resolve_timeout"}
    config["templates"] = [str(path) for path in templates]
    found = 0
    for receiver in config["receivers"]:
        for kind in [key for key in receiver if key.endswith("_configs")]:
            if kind != "telegram_configs":
                # Nobody is called from a proof.
                del receiver[kind]
                continue
            for one in receiver[kind]:
                one.pop("bot_token_file", None)
                one.update(api_url=telegram_url, bot_token=telegram.TOKEN, chat_id=telegram.CHAT)
                found += 1
    if not found:
        raise SystemExit(f"{shipped}: no receiver sends to Telegram")
    return config


class Alertmanager:
    def __init__(self, folder, shipped, telegram_url):
        self.port = free_port()
        templates = [shutil.copy(path, folder) for path in sorted(shipped.glob("*.tmpl"))]
        config = configuration(shipped / "alertmanager.yml", templates, telegram_url)
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config, sort_keys=False, width=1000))
        command = ["prometheus-alertmanager", "--config.file=alertmanager.yml", "--storage.path=alertmanager-data"]
        command += [f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address="]
        self.program = Program("alertmanager", command, folder)
        self.program.until_ready(f"http://127.0.0.1:{self.port}/-/ready")

    def stop(self):
        self.program.stop()
