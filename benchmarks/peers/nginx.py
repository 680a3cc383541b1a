"""nginx with `proxy_pass` and kept connections: bytes in, bytes out, in C. The floor of all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driving import Target
from processes import Running, free_port, running, wait_for_port

from peers.contestant import Contestant
from peers.installing import debian_package

_SETTINGS = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  client_max_body_size 64m;
  keepalive_requests 100000000;
  client_body_buffer_size 1m;
  upstream provider {{ server 127.0.0.1:{port}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{own};
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


@contextmanager
def serving(port: int, folder: Path) -> Iterator[tuple[Target, Running]]:
    """Run nginx before the mock provider."""
    program = shutil.which("nginx")
    if program is None:
        program = str(debian_package("nginx") / "usr" / "sbin" / "nginx")
    own = free_port()
    settings = folder / "nginx.conf"
    settings.write_text(_SETTINGS.format(folder=folder, port=port, own=own))
    log_path = folder / "nginx.log"
    command = [program, "-c", str(settings), "-p", str(folder)]
    with log_path.open("w") as log, running(command, folder=folder, log=log) as server:
        wait_for_port(own, server)
        yield Target("127.0.0.1", own), server


NGINX = Contestant("nginx", "proxy_pass; nothing read, nothing recorded", serving)
