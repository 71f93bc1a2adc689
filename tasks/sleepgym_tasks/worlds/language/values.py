"""The closed lists that plain attributes take their values from; no entry starts with a vowel."""

VALUES: dict[str, tuple[str, ...]] = {
    key: tuple(words.split())
    for key, words in {
        "job": "baker barber brewer butcher carpenter chemist clerk cook dancer dentist diver "
        "driver farmer fisher gardener glazier guard hunter jeweller judge lawyer librarian mason "
        "mechanic miller miner nurse painter pilot plumber poet porter potter printer sailor "
        "singer smith tailor teacher weaver",
        "hobby": "bowling boxing camping chess climbing cooking crochet curling cycling dancing "
        "diving drawing fencing fishing gardening golf hiking juggling kayaking knitting magic "
        "mountaineering origami painting photography pottery puzzles rowing running sailing "
        "sculpture singing skating skiing surfing swimming tennis wrestling writing yoga",
        "pet": "beaver bulldog camel canary cat chicken cobra crab crow deer dog donkey duck "
        "ferret frog goat goose hamster hedgehog horse lizard llama mouse mule newt parrot peacock "
        "pony poodle puppy rabbit rat salamander sheep snail snake spaniel squirrel toad tortoise",
        "instrument": "bagpipe banjo bassoon bugle cello clarinet concertina cornet cymbals drum "
        "dulcimer fiddle flute gong guitar harmonica harp harpsichord horn kazoo lute lyre "
        "mandolin marimba piano piccolo recorder saxophone sitar tambourine timpani triangle "
        "trombone trumpet tuba tabla vibraphone viola whistle zither",
        "dish": "beans beef bread broccoli broth burritos cabbage carrots casserole cheese chili "
        "chowder couscous curry dumplings fondue goulash haddock lasagna lentils lobster meatballs "
        "mushrooms noodles paella pancakes pasta pickles pizza porridge potatoes pudding ravioli "
        "rice risotto salad salmon sausages soup waffles",
        "language": "Basque Bengali Breton Bulgarian Catalan Chinese Czech Danish Dutch Finnish "
        "French Gaelic Georgian German Greek Hausa Hebrew Hindi Hungarian Japanese Javanese Khmer "
        "Korean Latin Latvian Malay Maltese Mongolian Navajo Nepali Persian Polish Portuguese "
        "Quechua Romanian Russian Spanish Swahili Tamil Turkish",
        "product": "barrels baskets batteries bells bicycles blankets boats books boots bottles "
        "bricks brushes buttons cables cameras candles carpets chairs clocks coats curtains "
        "doors engines fans gloves hats kettles knives ladders lamps locks mirrors needles paints "
        "pencils pipes ropes tents toys wheels",
        "emblem": "badger bear bee buffalo bull castle cloud comet compass crane crown dagger "
        "dolphin dragon feather flame fox gate griffin hammer hawk helmet key leopard lighthouse "
        "lily lion moon mountain phoenix pyramid raven rose shell ship star sun swan torch wolf",
        "colour": "beige black blue bronze brown burgundy charcoal copper coral cream crimson cyan "
        "gold green grey jade khaki lavender lemon lilac lime magenta maroon mint mustard navy "
        "peach pink plum purple red ruby salmon scarlet silver teal turquoise violet white yellow",
        "material": "bamboo bone brass cardboard cedar ceramic chrome clay cork cotton denim felt "
        "fleece fur glass granite hemp jute lead leather limestone linen marble mahogany nickel "
        "nylon paper pewter pine plastic plywood porcelain rubber sandstone satin silk slate "
        "steel tin wool",
        "landmark": "barn bridge canal cathedral chapel cinema citadel courthouse crater dam "
        "dome fort fountain gallery garden gatehouse glacier harbour hospital labyrinth library "
        "market mausoleum mill monastery museum palace park pier quarry racecourse ruin stadium "
        "statue temple theatre tower tunnel viaduct waterfall",
        "craft": "basketry beekeeping bookbinding brewing bricklaying calligraphy candlemaking "
        "carpentry carving cheesemaking clockmaking coopering distilling dyeing farming felting "
        "forestry gilding glassblowing hatmaking lacemaking masonry milling mining mosaics "
        "papermaking perfumery printing quilting ropemaking saddlery "
        "shipbuilding smelting spinning tailoring "
        "tanning thatching tiling weaving winemaking",
        "month": "January February March April May June July August September October November "
        "December",
        "tree": "beech birch box buckeye cedar cherry chestnut cypress dogwood fig fir ginkgo "
        "hawthorn hazel hemlock hickory holly hornbeam juniper larch laurel lemon lime linden "
        "magnolia maple mulberry myrtle palm pear pine plum poplar redwood rowan spruce sycamore "
        "walnut willow yew",
        "bird": "bluebird bullfinch buzzard cormorant crane crow cuckoo curlew dove falcon finch "
        "flamingo goldfinch grebe gull hawk heron hummingbird jackdaw jay kestrel kingfisher "
        "lapwing lark magpie nightingale pelican pheasant plover puffin quail raven robin sparrow "
        "starling stork swallow swift thrush woodpecker",
    }.items()
}
VALUES["year"] = tuple(str(year) for year in range(1700, 2000))
