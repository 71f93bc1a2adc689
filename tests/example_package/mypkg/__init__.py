import sleepgym

sleepgym.register_agent("rote", "mypkg.rote:Rote", "answers everything alike")
