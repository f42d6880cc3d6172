"""The content and the callbacks of the page."""

from pathlib import Path

import gradio as gr
import numpy as np

from demo.downloads import Downloads
from demo.examples import Example, examples
from demo.layers import layers
from demo.model_card import facts, limits
from demo.uploads import MAX_MEGABYTES, read_upload
from prediction import PanoramaModel
from utils.errors import UserError

_WEB = Path(__file__).parent / "web"
_QUEUE = {"concurrency_id": "model", "concurrency_limit": 1}  # one panorama at a time for all visitors

_FONT = ["Arial", "Helvetica", "sans-serif"]  # on the visitor's machine, not downloaded


def style() -> dict:
    """Theme and CSS for `gr.Blocks.launch`."""
    return {"theme": gr.themes.Default(primary_hue="blue", font=_FONT), "css": _text("page.css")}


def build_page(model: PanoramaModel) -> gr.Blocks:
    """The page of a model. It keeps no files: uploads are read and removed, a few results are kept in memory."""
    choices = examples()
    downloads = Downloads(model)

    def predict(title: str, rgb: np.ndarray, example: Example | None = None) -> dict:
        prediction = model.predict(rgb)
        ground_truth = None
        if example and example.ground_truth:
            ground_truth = example.ground_truth(len(prediction.rgb))
        files = {"key": downloads.add(title, rgb, prediction), "kinds": downloads.kinds}
        return {**layers(title, rgb, prediction, ground_truth), "files": files}

    def download(wanted: dict) -> dict:
        return downloads.file(wanted["key"], wanted["kind"])

    def on_upload(path: str) -> dict:
        try:
            rgb = read_upload(Path(path))
        except UserError as error:
            return {"error": str(error)}
        finally:
            Path(path).unlink(missing_ok=True)
        height, width = rgb.shape[:2]
        note = "" if width == 2 * height else f" ({width}x{height}, resized to 2:1)"
        return predict(Path(path).name + note, rgb)

    def on_choice(choice: gr.SelectData) -> dict:
        example = choices[choice.index]
        return predict(example.title, example.panorama(), example)

    with gr.Blocks(title="Elite360M", analytics_enabled=False, fill_width=True) as page:
        gr.Markdown(f"# Elite360M\n{facts(model)}")
        if text := limits(model):
            with gr.Accordion("what to expect (docs/weights.md)", open=False):
                gr.Markdown(text)
        with gr.Row():
            with gr.Column(scale=1, min_width=240):
                upload = gr.File(label=f"panorama (2:1, up to {MAX_MEGABYTES} MB)", height=150)
                gallery = gr.Gallery(
                    [(example.thumbnail(), example.title) for example in choices],
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
                    js_on_load="".join(map(_text, ("views.js", "measure.js", "viewer.js"))),
                    server_functions=[download],
                )
        shown = upload.upload(on_upload, upload, viewer, api_visibility="private", **_QUEUE)
        for outcome in (shown.success, shown.failure):
            outcome(lambda: None, None, upload, api_visibility="private", show_progress="hidden")  # clears the upload
        gallery.select(on_choice, None, viewer, api_visibility="private", **_QUEUE)
    return page


def _text(name: str) -> str:
    return (_WEB / name).read_text(encoding="utf-8")
