"""Serving the page to this machine only, and removing its temporary files."""

import os
import signal
import socket
import tempfile
from importlib.util import find_spec
from threading import Event

from prediction import PanoramaModel
from utils.errors import UserError

HOST = "127.0.0.1"


def check_port(port: int) -> None:
    """Make sure that a port is available.

    Raises:
        UserError: when it is in use or not permitted.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen()
        except OSError as error:
            raise UserError(f"--port {port} cannot be used ({error.strerror}): choose another one") from error


def check_gradio() -> None:
    """Make sure that gradio is installed, without importing it.

    Raises:
        UserError: when it is not.
    """
    if find_spec("gradio") is None:
        raise UserError("the demo needs gradio: pip install gradio")


def serve(model: PanoramaModel, port: int) -> None:
    """Serve the page of a model until SIGINT or SIGTERM. The temporary folder of uploads is then removed."""
    stop_requested = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop_requested.set())
    with tempfile.TemporaryDirectory(prefix="elite360m-demo-") as folder:
        # Before gradio is imported, which reads these. It checks its page's address, for which no_proxy is needed.
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "no_proxy": HOST}
        from demo.page import build_page, style
        from demo.uploads import MAX_MEGABYTES

        page = build_page(model)
        page.launch(
            server_name=HOST,
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            max_file_size=f"{MAX_MEGABYTES}mb",
            footer_links=[],
            run_history=False,  # gradio would store visitors' inputs
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            **style(),
        )
        print(f"http://{HOST}:{port} (Ctrl-C to stop)", flush=True)
        stop_requested.wait()
        page.close(verbose=False)
