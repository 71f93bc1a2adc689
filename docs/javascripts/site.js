// Wide tables scroll: let the keyboard reach them, too. Pictures open whole: a phone can enlarge them.
document$.subscribe(() => {
  const reach = () =>
    document
      .querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")
      .forEach((wrap) => (wrap.tabIndex = 0));
  new MutationObserver(reach).observe(document.body, { childList: true, subtree: true });
  reach();
  document.querySelectorAll(".md-typeset img").forEach((picture) => {
    if (picture.closest("a")) return;
    const link = document.createElement("a");
    link.href = picture.src;
    picture.replaceWith(link);
    link.append(picture);
  });
});
