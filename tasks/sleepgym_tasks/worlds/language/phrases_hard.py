"""Words for the hard kinds: facts taken back, dates, and needs that a fact answers unnamed."""

UNKNOWN = ("not known", "unknown")  # accepted where nothing is known any more, or was ever told
IF_KNOWN = "{question} If nobody knows, say: not known."
AS_OF = "As of day {day}: {question}"
TODAY = "Day {day}. {text}"

DENIALS = (
    "It is no longer true that",
    "From today on it does not hold any more that",
    "Nobody should say any longer that",
)

# Attribute -> a question that the fact answers, without a word for what it says.
NEEDS = {
    "person.home": "I have a parcel to hand to {s} in person. To which place do I travel?",
    "person.employer": "{s} left a coat behind in the office. At whose door do I ask for it?",
    "person.mentor": "Somebody wants to thank whoever made {s} so skilled. Whom do they write to?",
    "person.job": "{s} shows children how to earn a living. As what?",
    "person.hobby": "{s} has a free Saturday. What will it be spent on?",
    "person.pet": "{s} is away for a week and I mind the house. What do I have to feed?",
    "person.instrument": "The band invites {s} to play along. What will we hear?",
    "person.dish": "{s} comes to dinner and I want to please. What do I cook?",
    "person.language": "I leave a note that {s} can read. In what do I write it?",
    "person.year": "A birthday cup for {s} shows when it all began. What stands on it?",
    "company.seat": "A letter must reach the head office of {s}. What goes on the envelope?",
    "company.founder": "A statue shows the one to whom {s} owes its existence. Whose face is it?",
    "company.supplier": "A strike elsewhere leaves {s} without parts. Where do they strike?",
    "company.rival": "{s} loses a customer. Who is likely to win one?",
    "company.product": "A lorry leaves {s}, loaded for the shops. What is in it?",
    "company.emblem": "I look for {s} by the picture above its gate. What does it show?",
    "company.colour": "New vans are to be painted for {s}. Which paint do I order?",
    "company.material": "The store room of {s} is empty. Of what must more be ordered?",
    "company.year": "{s} plans an anniversary. Since when does it count?",
    "town.mayor": "The first citizen of {s} shall cut a ribbon. Whom do we invite?",
    "town.river": "A raft drifts under the bridges of {s}. On what water?",
    "town.twin": "A school in {s} writes to its partners abroad. Where do they live?",
    "town.landmark": "A postcard from {s} shows what everybody comes to see. What is it?",
    "town.craft": "The young of {s} stay and take up what their parents do. What do they learn?",
    "town.fair": "I want to sell cakes to the crowds in {s}. When do I come?",
    "town.tree": "Leaves lie on the streets of {s}. What did they fall from?",
    "town.bird": "A cloth is embroidered for the town hall of {s}. Which animal goes on it?",
    "town.year": "{s} celebrates its rights. Since when has it had them?",
}
