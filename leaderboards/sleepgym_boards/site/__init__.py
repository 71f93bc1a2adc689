"""The site: static pages made from verdicts, without a clock, a network or a server."""
