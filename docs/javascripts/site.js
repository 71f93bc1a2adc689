// Wide tables scroll: let the keyboard reach them, too.
document$.subscribe(() => {
  const reach = () =>
    document
      .querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")
      .forEach((wrap) => (wrap.tabIndex = 0));
  new MutationObserver(reach).observe(document.body, { childList: true, subtree: true });
  reach();
});
