"""Debian's nginx with ModSecurity and the Core Rule Set, set up as an ingress controller sets it up.

The log format is read from deploy/ingress-nginx/values.yaml, so that what users are told to set is what is proven. A
load balancer is in front: the client's address comes by X-Forwarded-For, and nginx puts it in its place.
"""

import socket

import yaml

from programs import Program, free_port

MODULES = "/usr/lib/nginx/modules"
NGINX = "/usr/sbin/nginx"

HEAD = """
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr info;
load_module MODULES/ndk_http_module.so;
load_module MODULES/ngx_http_modsecurity_module.so;
events { worker_connections 512; }
http {
  client_body_temp_path FOLDER/tmp; proxy_temp_path FOLDER/tmp; fastcgi_temp_path FOLDER/tmp;
  uwsgi_temp_path FOLDER/tmp; scgi_temp_path FOLDER/tmp;
  uninitialized_variable_warn off; default_type text/plain;
  keepalive_requests 1000000; keepalive_timeout 600s;
  set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;
  limit_req_zone $binary_remote_addr zone=clients:1m rate=5r/s; limit_req_status 429;
  log_format upstreaminfo escape=json FORMAT;
  access_log /dev/stdout upstreaminfo;
  proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; proxy_next_upstream off;
  upstream application { server 127.0.0.1:APPLICATION; keepalive 16; }
  modsecurity on;
  modsecurity_rules '
    SecRuleEngine On
    SecRequestBodyAccess On
    SecAuditEngine Off
    SecTmpDir FOLDER/tmp
    SecDataDir FOLDER/tmp
    Include /etc/modsecurity/crs/crs-setup.conf
    Include /usr/share/modsecurity-crs/rules/*.conf
  ';
  server {
    listen 127.0.0.1:PORT default_server;
    server_name _;
    return 404;
  }
"""

SERVER = """
  server {
    listen 127.0.0.1:PORT;
    server_name HOST;
    set $namespace NAMESPACE; set $ingress_name INGRESS; set $service_name SERVICE; set $service_port 80;
    set $proxy_upstream_name NAMESPACE-SERVICE-80;
    location / { EXTRA proxy_pass http://application; }
  }
"""

# Host, namespace, ingress, service, and what its annotations add.
INGRESSES = [
    ("shop.example", "shop", "storefront", "web", ""),
    ("api.shop.example", "shop", "api", "api", "limit_req zone=clients burst=10 nodelay;"),
    ("blog.example", "blog", "blog", "ghost", ""),
    ("vault.example", "vault", "vaultwarden", "vaultwarden", "auth_basic vault; auth_basic_user_file FOLDER/users;"),
    ("photos.example", "photos", "immich", "immich-server", ""),
]


def log_format(repository):
    """The format of the values file, as nginx takes it."""
    values = yaml.safe_load((repository / "deploy/ingress-nginx/values.yaml").read_text())
    text = values["controller"]["config"]["log-format-upstream"]
    # $req_id is ingress-nginx' own: the client's X-Request-ID, or else nginx' number.
    return "'" + text.replace("$req_id", "$request_id") + "'"


def configuration(repository, folder, port, upstream_port):
    text = HEAD.replace("FORMAT", log_format(repository)).replace("MODULES", MODULES)
    for host, namespace, ingress, service, extra in INGRESSES:
        server = SERVER.replace("HOST", host).replace("NAMESPACE", namespace).replace("INGRESS", ingress)
        text += server.replace("SERVICE", service).replace("EXTRA", extra)
    text += "}\n"
    return text.replace("FOLDER", str(folder)).replace("PORT", str(port)).replace("APPLICATION", str(upstream_port))


class Controller:
    """One controller's pod: nginx, and the container whose log it writes."""

    def __init__(self, repository, folder, name, container, upstream_port):
        self.folder, self.port, self.container = folder / name, free_port(), container
        (self.folder / "tmp").mkdir(parents=True)
        # Nobody knows a password: whoever tries gets 401.
        (self.folder / "users").write_text("")
        config = self.folder / "nginx.conf"
        config.write_text(configuration(repository, self.folder, self.port, upstream_port))
        command = [NGINX, "-p", self.folder, "-e", "stderr", "-c", config]
        self.program = Program(name, command, self.folder, pipes=True)
        container.follow(self.program.process.stdout, "stdout")
        container.follow(self.program.process.stderr, "stderr")

    def is_open(self):
        """Whether it takes connections; one that is closed without a word is no request."""
        if self.program.process.poll() is not None:
            raise SystemExit(f"nginx ended: {self.container.lines['stderr'][-5:]}")
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self):
        """Ends nginx, so that its log is complete."""
        self.program.stop()
        self.container.finish()
