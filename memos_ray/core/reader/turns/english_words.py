"""Closed classes of English words, and given names that tell a man from a woman."""

from __future__ import annotations

DETERMINERS = frozenset("the a an this that these those my your his her its our their".split())
OWNERS = frozenset("my your his her its our their".split())
AUXILIARIES = frozenset(
    """am is are was were be been being do does did have has had will would can could shall should
    may might must isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't won't
    wouldn't can't couldn't shouldn't""".split()
)
PREPOSITIONS = frozenset(
    """about above across after against along among around as at before behind below beside between
    beyond by despite down during except for from in inside into like near of off on onto out
    outside over past since through throughout till to toward towards under until up upon with
    within without""".split()
)
# A noun phrase ends before each of these.
STOPS = (
    AUXILIARIES
    | PREPOSITIONS
    | frozenset(
        """and or but nor so yet if than then when where while who whom whose which what why how
        because though although i you he she it we they me him us them mine yours hers ours theirs
        myself yourself himself herself itself ourselves themselves there here not no never ever
        also too either still already just only again yesterday today tomorrow tonight now later
        once soon away back home together else instead ago really actually very quite
        said says say went goes go came comes come got gets get gave gives give took takes take
        made makes make put puts bought buys buy sold sells sell told tells tell saw sees see
        found finds find kept keeps keep left leaves leave lost loses lose met meets meet paid pays
        pay sent sends send thought thinks think wanted wants want liked likes needed needs
        need called calls used uses use started starts start stopped stops stop moved moves move
        happened happens happen cost costs lived lives live worked works joined joins join became
        becomes become began begins begin broke breaks brought brings bring built builds chose
        chooses decided decides ate eats eat finished asked asks ask looked looks look turned turns
        lasted lasts last closed closes""".split()
    )
)
TIME_NOUNS = frozenset(
    """second minute hour day week weekend fortnight month season year decade century morning
    afternoon evening night noon midnight time moment date while spring summer autumn fall winter
    monday tuesday wednesday thursday friday saturday sunday january february march april may june
    july august september october november december""".split()
)
# What "it" does not stand for, though it is a noun.
EMPTY_NOUNS = TIME_NOUNS | frozenset(
    """dollar pound euro cent percent mile kilometre kilometer metre meter kilo degree hundred
    thousand million dozen one ones thing way lot bit couple number kind sort rest end beginning
    same other others
    first latter former fact reason""".split()
)
WOMEN = frozenset(
    """mother mum mom mummy mommy grandmother grandma granny aunt auntie sister daughter
    granddaughter niece wife girlfriend bride fiancée fiancee stepmother mother-in-law
    sister-in-law daughter-in-law girl woman lady queen princess actress waitress widow
    ex-wife midwife nun""".split()
)
MEN = frozenset(
    """father dad daddy grandfather grandpa granddad uncle brother son grandson nephew husband
    boyfriend groom fiancé fiance stepfather father-in-law brother-in-law son-in-law boy man
    gentleman guy chap bloke lad king prince actor waiter widower ex-husband monk""".split()
)
PEOPLE = (
    WOMEN
    | MEN
    | frozenset(
        """person friend partner spouse child kid baby parent cousin neighbour neighbor colleague
        coworker co-worker teammate classmate roommate flatmate boss manager supervisor director
        teacher tutor professor coach trainer student pupil doctor nurse vet surgeon dentist
        physiotherapist therapist engineer plumber electrician builder mechanic cook chef baker
        lawyer solicitor judge clerk cashier secretary assistant landlord landlady tenant owner
        customer client guest host visitor driver pilot captain sailor fisherman farmer gardener
        artist painter musician singer drummer writer author poet editor journalist producer
        photographer policeman policewoman officer soldier examiner interviewer candidate winner
        godfather godmother orthodontist paramedic specialist consultant stranger twin
        developer designer analyst researcher scientist accountant agent recruiter""".split()
    )
)
# These have names, and are he or she to who knows them.
ANIMALS = frozenset(
    """dog puppy hound greyhound cat kitten horse pony tortoise turtle rabbit hamster parrot bird
    budgie goldfish guinea-pig donkey""".split()
)
FEMALE_NAMES = frozenset(
    """abigail ada adele agnes alexandra alice alicia alison amanda amelia amy ana andrea angela
    anita ann anna anne annette annie antonia aisha astrid audrey barbara beatrice bella berta
    beth betty bianca brenda bridget camila camille carla carmen carol caroline catherine cecilia
    charlotte chiara chloe christina christine claire clara claudia cora cynthia daisy daniela
    deborah denise diana diane donna dora doris dorothy edith eileen elaine eleanor elena
    elisa elizabeth ella ellen elsa emilia emily emma erica esther eva eve evelyn fatima fiona
    flora florence frances francesca freya gabriela gemma georgia gertrude giulia gloria grace
    greta hanna hannah harriet hazel heather heidi helen helena helga hilda holly ida ines 
    irene iris isabel isabella ivy jacqueline jane janet jasmine jean jenna jennifer jenny jessica
    joan joanna josephine joyce judith judy julia juliet karen karin kate katherine kathleen katie
    keiko kelly kim kristina lara laura lauren lea leah lena leila lily linda lisa lotte
    louise lucia lucy luisa lydia mabel madeleine maggie margaret maria marie marina marion martha
    mary maya megan melanie melissa mia michelle mila mira miriam molly monica monika nadia nancy
    naomi natalie natasha nicole nina nora olga olivia pamela patricia paula pauline penelope
    petra phoebe polly priya rachel rebecca rita roberta rosa rose rosemary ruth
    sabine sally samantha sandra sara sarah selma sharon sheila silvia simone sofia sonia sophia
    sophie stella stephanie sue susan susanne svetlana sylvia tamara tanya tara tatiana teresa
    tess tina ursula valentina valerie vanessa vera verena veronica victoria violet virginia
    wanda wendy yasmin yoko yvonne zoe""".split()
)
MALE_NAMES = frozenset(
    """aaron abdul adam adrian ahmed alan albert alberto alejandro alexander alfred ali andreas
    andrew andy angus anthony anton antonio archie arnold arthur axel barry ben benjamin bernard
    bill billy bob boris brad brian bruce bruno carl carlos cedric charles chris christian
    christopher claude colin connor craig dan daniel darren dave david dennis derek diego dieter
    dmitri dominic donald douglas duncan eduardo edward elias emil enrique eric erik ernest
    ethan eugene felix fernando finn francisco frank frankie franz fred frederick fritz gareth
    gary gavin geoffrey george gerald giovanni gordon graham greg gregory günter guy hans
    harold harry hassan hector heinz henrik henry herbert hiroshi howard hugh hugo ian igor isaac
    ivan jack jacob jake james jamie jan jason javier jeff jens jeremy jerry jim joe joel johan
    johannes john johnny jon jonas jonathan jorge jose joseph joshua juan jürgen karl keith ken
    kenneth kenji kevin klaus kurt lars lawrence leo leon leonard lewis liam linus lorenzo louis
    luca lucas ludwig luis luke magnus manuel marco marcus mario mark markus martin matteo
    matthew matthias max maximilian michael miguel mike mohammed nathan neil nicholas nick nigel
    nikolai noah norman oleg oliver omar oscar otto owen pablo patrick paul pavel pedro pete peter
    philip pierre rafael rajesh ralph raul ray raymond richard rob robert roberto robin rodrigo
    roger roland ron ronald ross roy rudolf rupert russell ryan sam samuel scott sean sebastian
    sergei seth simon stefan stephen steve steven stuart sven ted terry theo thomas tim timothy
    tobias todd tom tomas tony trevor udo uwe victor viktor vincent vladimir walter warren wayne
    werner wilhelm william winston wolfgang xavier yuri yusuf""".split()
)
