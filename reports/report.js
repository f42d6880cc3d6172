// Shows one gallery at a time, and reverses the order of images. Without JavaScript all galleries are shown, worst first.
const galleries = [...document.querySelectorAll(".gallery")];
const buttons = [...document.querySelectorAll("[data-show]")];
const reverse = document.getElementById("reverse");

function show(task) {
    galleries.forEach((gallery) => { gallery.hidden = gallery.dataset.task !== task; });
    buttons.forEach((button) => { button.classList.toggle("chosen", button.dataset.show === task); });
}

if (buttons.length) {
    buttons.forEach((button) => { button.onclick = () => show(button.dataset.show); });
    reverse.onclick = () => {
        document.querySelectorAll(".cards").forEach((cards) => { cards.classList.toggle("reversed"); });
        reverse.textContent = reverse.textContent === "best first" ? "worst first" : "best first";
    };
    show(buttons[0].dataset.show);
}
