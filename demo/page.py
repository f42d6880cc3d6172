"""The content and the callbacks of the page."""

from pathlib import Path

import gradio as gr
import numpy as np

from demo.examples import examples
from demo.layers import layers
from demo.uploads import MAX_MEGABYTES, read_upload
from prediction import PanoramaModel
from utils.errors import UserError

_WEB = Path(__file__).parent / "web"
_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}  # one panorama at a time, of all visitors

_FONT = ["Arial", "Helvetica", "sans-serif"]  # of the visitor's machine


def style() -> dict:
    """Theme and CSS for `gr.Blocks.launch`."""
    return {"theme": gr.themes.Default(primary_hue="blue", font=_FONT), "css": _text("page.css")}


def build_page(model: PanoramaModel) -> gr.Blocks:
    """The page of a model. It stores nothing: results are in the visitor's browser, uploads are read and removed."""
    rooms = examples()

    def predict(title: str, rgb: np.ndarray) -> dict:
        return layers(title, rgb, model.predict(rgb))

    def on_upload(path: str) -> dict:
        try:
            rgb = read_upload(Path(path))
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        finally:
            Path(path).unlink(missing_ok=True)
        height, width = rgb.shape[:2]
        note = "" if width == 2 * height else f" ({width}x{height}, resized to 2:1)"
        return predict(Path(path).name + note, rgb)

    def on_choice(choice: gr.SelectData) -> dict:
        room = rooms[choice.index]
        return predict(room.title, room.panorama())

    with gr.Blocks(title="Elite360M", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(_heading(model))
        with gr.Row():
            with gr.Column(scale=1, min_width=240):
                upload = gr.File(label=f"panorama (2:1, up to {MAX_MEGABYTES} MB)", height=150)
                gallery = gr.Gallery(
                    [(room.thumbnail(), room.title) for room in rooms],
                    label="or pick a room",
                    columns=1,
                    allow_preview=False,
                    interactive=False,
                    height="auto",
                    buttons=[],
                    elem_classes="rooms",
                )
            with gr.Column(scale=5, min_width=480):
                viewer = gr.HTML(
                    html_template=_text("viewer.html"),
                    css_template=_text("viewer.css"),
                    js_on_load=_text("views.js") + _text("viewer.js"),
                )
        shown = upload.upload(on_upload, upload, viewer, api_visibility="private", **_QUEUE)
        for outcome in (shown.success, shown.failure):
            outcome(lambda: None, None, upload, api_visibility="private", show_progress="hidden")  # ready for the next
        gallery.select(on_choice, None, viewer, api_visibility="private", **_QUEUE)
    return page


def _heading(model: PanoramaModel) -> str:
    settings = model.settings
    facts = [
        settings.backbone,
        f"trained on {settings.dataset}",
        f"{settings.width}x{settings.height} pixels",
        f"predicts {', '.join(settings.tasks)}",
        f"depth: {settings.depth_unit}",
    ]
    return f"# Elite360M\n{' · '.join(facts)}"


def _text(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")
