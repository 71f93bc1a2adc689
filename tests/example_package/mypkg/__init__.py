import sleepgym

sleepgym.register_agent("rote", "mypkg.rote:Rote", "answers everything alike")
sleepgym.register_agent("cram", "mypkg.cram:Cram", "gradient steps on the day's texts at night")
