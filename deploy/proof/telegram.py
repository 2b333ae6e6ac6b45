"""Telegram's Bot API, as far as Alertmanager calls it: takes messages, as strictly as the real one, and keeps them."""

import html.parser
import json
import time

from server import Handler, Server

TEXT_MAX = 4096
# What Telegram shows of HTML; anything else it refuses, and the message is lost.
TAGS = {
    "b",
    "strong",
    "i",
    "em",
    "u",
    "ins",
    "s",
    "strike",
    "del",
    "a",
    "code",
    "pre",
    "span",
    "tg-spoiler",
    "blockquote",
}
TOKEN, CHAT = "123456:proof", -1001234567890


class Telegram:
    def __init__(self):
        self.messages, self.refused = [], []
        self.server = Server(handler(self))
        self.url = self.server.url

    def stop(self):
        self.server.stop()


class Markup(html.parser.HTMLParser):
    """Finds what Telegram's parser would refuse, and the text that people see."""

    def __init__(self, text):
        super().__init__()
        self.open, self.wrong, self.seen = [], None, ""
        self.feed(text)
        self.close()
        if self.open:
            self.wrong = self.wrong or f"<{self.open[-1]}> is not closed"

    def handle_starttag(self, tag, attributes):
        if tag not in TAGS:
            self.wrong = self.wrong or f"unsupported start tag {tag}"
        self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong = self.wrong or f"unexpected end tag {tag}"

    def handle_data(self, data):
        self.seen += data


def refusal(path, message):
    """Why the Bot API would say 400, or nothing."""
    if path != f"/bot{TOKEN}/sendMessage":
        return f"no such method or bot: {path}"
    if str(message.get("chat_id")) != str(CHAT):
        return "chat not found"
    if not message.get("text", "").strip():
        return "message text is empty"
    markup = Markup(message["text"]) if message.get("parse_mode") == "HTML" else None
    if markup and markup.wrong:
        return f"can't parse entities: {markup.wrong}"
    if len(markup.seen if markup else message["text"]) > TEXT_MAX:
        return "message is too long"
    return None


def handler(telegram):
    class SendMessage(Handler):
        def do_POST(self):
            message = json.loads(self.body() or b"{}")
            why = refusal(self.path, message)
            (telegram.refused if why else telegram.messages).append({"at": time.time(), "why": why, **message})
            if why:
                self.reply_json(400, {"ok": False, "error_code": 400, "description": f"Bad Request: {why}"})
            else:
                chat = {"id": CHAT, "type": "supergroup", "title": "alerts"}
                sent = {"message_id": len(telegram.messages), "date": int(time.time()), "chat": chat}
                self.reply_json(200, {"ok": True, "result": {**sent, "text": message["text"]}})

    return SendMessage
